"""What a server sends to Graylog: its log, and if it is the whole exchange its market too."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wood.exchange.exchange import Exchange
from wood.exchange.memory import MemoryExchange
from wood.graylog.address import Address
from wood.graylog.handler import GraylogHandler, start_log_sender
from wood.graylog.market import Which
from wood.graylog.market_task import MarketTask, market_task
from wood.model.errors import ConfigError
from wood.model.log_events import LogEvent, told
from wood.node.settings import Settings

log = logging.getLogger("wood")

READER = "graylog"
"""What the reader of the market is called among those of a process."""


@dataclass(frozen=True)
class ToGraylog:
    """Where Graylog is, and what it is told of the market."""

    address: Address
    which: Which = Which.TRADES


@contextmanager
def logging_to(graylog: ToGraylog | None, settings: Settings) -> Iterator[GraylogHandler | None]:
    """Send what is logged meanwhile, and at the end what is on its way; gives what does so."""
    if graylog is None:
        yield None
        return
    sender = start_log_sender(graylog.address, settings.called(settings.private))
    root = logging.getLogger()
    level = root.level
    # How much a person wants to read is for standard error only.
    root.setLevel(min(level, logging.INFO))
    root.addHandler(sender)
    try:
        yield sender
    except ConfigError as error:
        # The command says it, in one line on standard error; here it goes to Graylog alone.
        what = told(LogEvent.NODE_FAILED, reason=str(error))
        where = (log.name, logging.CRITICAL, __file__, 0, "did not start: %s", (error,), None)
        sender.handle(log.makeRecord(*where, extra=what))
        raise
    finally:
        root.removeHandler(sender)
        root.setLevel(level)
        sender.close()


def market_of(
    exchange: Exchange, graylog: ToGraylog | None, settings: Settings, behind: dict[str, int]
) -> MarketTask | None:
    """What tells Graylog the market of a single server; how far behind it is stands in `behind`.

    That of a cluster is told by `wood graylog`, once for all nodes. Raises `ConfigError`.
    """
    if graylog is None or not isinstance(exchange, MemoryExchange):
        return None

    def note(events: int) -> None:
        behind[READER] = events

    where = graylog.address, settings.called(settings.private), graylog.which
    return market_task(exchange, *where, note)
