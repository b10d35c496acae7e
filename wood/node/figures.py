"""How a node is doing: rates, times and counts, for `/status`, for the log, and for other nodes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import msgpack
from msgspec.structs import replace

from wood import __version__
from wood.exchange.exchange import Exchange, Partition
from wood.exchange.memory import MemoryExchange
from wood.model.log_events import LogEvent, told
from wood.model.node_report import NodeReport, PartitionReport
from wood.model.orders import State
from wood.node.error_count import ErrorCount
from wood.node.loop_lag import LoopLag
from wood.node.market import Market
from wood.node.meter import Meter
from wood.node.sample import Sample
from wood.node.settings import Settings

MEASURED = "wood.measured"
"""The logger of what is told every few seconds, for machines that keep it: no news for a person."""

log = logging.getLogger(MEASURED)

WINDOW = 10
"""Seconds over which rates and quantiles are told; so often they are told to the log."""


@dataclass(frozen=True)
class Crowd:
    """Who is connected to a node, and how many had to go since it started."""

    sessions: int
    named: int
    """Sessions that have logged in."""
    subscribers: int
    slow: int
    """Clients closed because they did not read."""
    refused: int
    """Connections that were not admitted."""


class Figures:
    """Looks at the engines' and the node's counters once a second, and keeps ten of those looks.

    `crowd`, `ready` and `port` are asked for what only the node knows. Made before the engine is
    started, and after the other readers of the journal are attached: those come first.
    """

    def __init__(
        self,
        exchange: Exchange,
        markets: Mapping[str, Market],
        settings: Settings,
        *,
        crowd: Callable[[], Crowd],
        ready: Callable[[], str | None],
        port: Callable[[str], int],
    ) -> None:
        self.exchange = exchange
        self.meters = {
            name: Meter(partition.instruments, markets[name].feed)
            for name, partition in exchange.partitions.items()
        }
        self.loop_lag = LoopLag()
        self.errors = ErrorCount()
        self.readers: dict[str, int] = {}
        """Of readers of the journal that are part of this process: how many events behind."""
        self.crowd = crowd
        self.ready = ready
        self.mode = "memory" if isinstance(exchange, MemoryExchange) else "redis"
        self._settings = settings
        self._port = port
        self._started = time.time_ns() // 1000
        self._samples: deque[Sample] = deque([self._look()], maxlen=WINDOW + 1)
        self._told = self._samples[0]
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        for name, partition in exchange.partitions.items():
            partition.attach(self.meters[name])
        exchange.report_by(self.packed)

    def start(self) -> None:
        """Look once a second until `stop`."""
        self.errors.install()
        self.loop_lag.start()
        self._timer = asyncio.get_running_loop().call_later(1, self._tick)

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        self.errors.remove()
        self.loop_lag.stop()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def name(self) -> str:
        """What the node is called: as it was told, else its host and its private port."""
        return self._settings.called(self._port("private"))

    def worst_loop_lag(self) -> float:
        """Seconds by which the event loop was late at most, over the last ten or so."""
        return max(sample.loop_lag for sample in self._samples)

    def report(self) -> NodeReport:
        """What there is to say now."""
        before, now = self._samples[0], self._samples[-1]
        crowd, meters = self.crowd(), self.meters.values()
        states = {
            symbol: State.HALTED.value if symbol in meter.book.halted else State.OPEN.value
            for meter in meters
            for symbol in meter.traded
        }
        return NodeReport(
            name=self.name,
            version=__version__,
            mode=self.mode,
            host=self._settings.host,
            private=self._port("private"),
            public=self._port("public"),
            health=self._settings.health,
            started=self._started,
            time=time.time_ns() // 1000,
            ready=self.ready(),
            sessions=crowd.sessions,
            named=crowd.named,
            subscribers=crowd.subscribers,
            commands=now.commands,
            refusals=now.refusals,
            unavailable=now.unavailable,
            events=now.events,
            trades=now.trades,
            errors=self.errors.count,
            slow=crowd.slow,
            command_rate=now.rate(before, "commands"),
            event_rate=now.rate(before, "events"),
            trade_rate=now.rate(before, "trades"),
            refusal_rate=now.rate(before, "refusals"),
            loop_lag=self.worst_loop_lag(),
            submit_p50=now.quantile(before, "submit", 0.5),
            submit_p99=now.quantile(before, "submit", 0.99),
            partitions={
                name: _partition(partition, self.meters[name])
                for name, partition in self.exchange.partitions.items()
            },
            states={symbol: states[symbol] for symbol in self.exchange.instruments},
            readers=dict(self.readers),
            feed_lag_p99=now.quantile(before, "lag", 0.99),
        )

    def packed(self) -> bytes:
        """The report in MessagePack, for where the states of instruments are known anyway."""
        return msgpack.encode(replace(self.report(), states={}))

    def _look(self) -> Sample:
        return Sample.of(
            time.monotonic(),
            [partition.vitals for partition in self.exchange.partitions.values()],
            self.meters.values(),
            errors=self.errors.count,
            slow=self.crowd().slow,
            loop_lag=self.loop_lag.worst(),
        )

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(1, self._tick)
        self._samples.append(self._look())
        self._ticks += 1
        if self._ticks % WINDOW == 0:
            self._tell()

    def _tell(self) -> None:
        """Say how it went since this was last said."""
        before, now = self._told, self._samples[-1]
        self._told = now
        crowd = self.crowd()
        counts = {
            name: getattr(now, name) - getattr(before, name)
            for name in (
                *("commands", "events", "trades", "refusals", "unavailable"),
                *("errors", "slow", "gaps", "resyncs", "outages"),
            )
        }
        waiting = sum(each.vitals.waiting for each in self.exchange.partitions.values())
        log.info(
            "measured: %d sessions, %d commands, %d trades",
            *(crowd.sessions, counts["commands"], counts["trades"]),
            extra=told(
                LogEvent.NODE_MEASURED,
                sessions=crowd.sessions,
                named=crowd.named,
                subscribers=crowd.subscribers,
                queue=waiting,
                loop_lag_ms=_ms(self.worst_loop_lag()),
                submit_p50_ms=_ms(now.quantile(before, "submit", 0.5)),
                submit_p99_ms=_ms(now.quantile(before, "submit", 0.99)),
                feed_lag_p99_ms=_ms(now.quantile(before, "lag", 0.99)),
                redis_p99_ms=_ms(now.quantile(before, "redis", 0.99)),
                **counts,
            ),
        )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _partition(partition: Partition, meter: Meter) -> PartitionReport:
    vitals = partition.vitals
    since = vitals.waiting_since
    return PartitionReport(
        epoch=meter.book.epoch,
        seq=meter.book.seq,
        time=meter.time,
        waiting=vitals.waiting,
        waited=0.0 if since is None else max(0.0, time.monotonic() - since),
        gaps=vitals.gaps,
        resyncs=vitals.resyncs,
        forks=vitals.forks,
        outages=vitals.outages,
        writer=partition.writer,
    )
