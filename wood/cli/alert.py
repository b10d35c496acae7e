"""`wood alert`: calls somebody when something is wrong, and says when it is over."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from wood.alerts.log import LogSink
from wood.alerts.run import watch_over, wrong_now
from wood.alerts.sender import Sink
from wood.alerts.smtp import MailServer, MailSink
from wood.alerts.thresholds import Thresholds
from wood.alerts.watch import Target, Watch
from wood.alerts.webhook import Hook, webhooks
from wood.cli.names import checked_name
from wood.cli.numbers import FiniteRange
from wood.cli.partition import PREFIX_OPTION
from wood.graylog.address import Address
from wood.graylog.handler import start_log_sender
from wood.node.log_lines import PlainText

log = logging.getLogger("wood.alerts")

SECONDS = FiniteRange(min=0.1, max=86400 * 365)
_PERCENT = FiniteRange(min=0, max=100)

_option = partial(click.option, show_envvar=True)


def _target(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Any:
    """The hosts and ports."""
    return tuple(_host_and_port(value) for value in values)


def _host_and_port(value: str) -> Target:
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not port.isascii() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{value!r}: give HOST:PORT, such as 127.0.0.1:7003")
    return host, int(port)


def _addresses(context: click.Context, option: click.Parameter, values: Any) -> Any:
    """One mail address, or several."""
    given = (values,) if isinstance(values, str) else values or ()
    for value in given:
        user, _, host = value.rpartition("@")
        if not user or not host or not value.isprintable() or any(c in value for c in " ,<>;"):
            raise click.BadParameter(f"{value!r}: give an address, such as ops@example.org")
    return values


def _threshold(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    default = getattr(Thresholds(), name)
    return _option("--" + name.replace("_", "-"), default=default, type=kind, help=text)


_THRESHOLDS = [
    _threshold("redis_away", SECONDS, "redis-unreachable: seconds without an answer of Redis."),
    _threshold(
        "node_silent",
        SECONDS,
        "node-lost: seconds without an answer of a node named by --health, or without a beat of "
        "one that no other is left to declare dead (two leases at least).",
    ),
    _threshold(
        "stalled", SECONDS, "journal-stalled: seconds in which orders wait and nothing is decided."
    ),
    _threshold(
        "behind_events", click.IntRange(min=1), "reader-behind: events that a reader has to go."
    ),
    _threshold(
        "behind_seconds",
        SECONDS,
        "reader-behind: seconds in which a reader that is behind does not move.",
    ),
    _threshold("forked_for", SECONDS, "journal-forked: seconds for which a fork is shown."),
    _threshold(
        "errors", click.IntRange(min=1), "errors: so many in the log of a node, in the time below."
    ),
    _threshold("errors_within", SECONDS, "errors: seconds in which they are counted."),
    _threshold("disk_full", _PERCENT, "disk-nearly-full: per cent that are in use."),
    _threshold(
        "memory_full", _PERCENT, "redis-not-writing: per cent of Redis' maxmemory in use."
    ),
]  # fmt: skip

_OPTIONS = [
    _option(
        "--redis",
        envvar="WOOD_REDIS",
        metavar="URL",
        help="Watch the cluster in this Redis; a URL as for 'wood -s -m'.",
    ),
    PREFIX_OPTION,
    _option(
        "--health",
        multiple=True,
        callback=_target,
        metavar="HOST:PORT",
        help="Watch the node with this health port, such as a single server; repeatable.",
    ),
    _option(
        "--disk",
        multiple=True,
        type=click.Path(exists=True, readable=False),
        help="Watch how full the file system of this path is, such as that of Redis' append-only "
        "file; repeatable. Only where 'wood alert' runs on that machine.",
    ),
    _option("--interval", default=1.0, type=SECONDS, help="Seconds from look to look."),
    *_THRESHOLDS,
    _option(
        "--calm",
        default=30.0,
        type=FiniteRange(min=0, max=86400),
        help="Seconds without it after which an alert has ended; what comes back before is the "
        "same alert, and counted.",
    ),
    _option(
        "--repeat",
        default=3600.0,
        type=FiniteRange(min=0, max=86400 * 365),
        help="Seconds after which an alert that lasts is told again; 0 is never.",
    ),
    _option(
        "--smtp",
        metavar="URL",
        help="Tell it by mail: smtp://user:password@host:25, with ?starttls behind it for TLS, or "
        "smtps://; ?ca=FILE names who vouches for the server. The variable keeps the password off "
        "the list of processes.",
    ),
    _option("--mail-to", multiple=True, callback=_addresses, help="--smtp: to whom; repeatable."),
    _option(
        "--mail-from",
        callback=_addresses,
        help="--smtp: from whom. [wood@ and this machine's name]",
    ),
    _option(
        "--webhook",
        multiple=True,
        metavar="URL",
        help="Tell it by a POST of JSON to this http:// or https:// URL; repeatable. "
        "docs/alerts.md has the schema.",
    ),
    _option(
        "--graylog",
        envvar="WOOD_GRAYLOG",
        metavar="URL",
        help="Tell it to Graylog: udp://host:12201, tcp:// or tls://.",
    ),
    _option(
        "--name",
        callback=checked_name,
        help="What Graylog shows as the sender. [alerts@ and this machine's name]",
    ),
    _option(
        "--once",
        is_flag=True,
        help="Print what is wrong now and end, with exit code 1 if anything is; nobody else is "
        "told.",
    ),
]  # fmt: skip


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_with_options
def alert(**chosen: Any) -> None:
    """Watch an exchange; tell people when something is wrong, and when it is over.

    \b
        wood alert --redis redis://localhost:6379/0 --disk /var/lib/redis
        wood alert --health 127.0.0.1:7003 --smtp smtp://localhost --mail-to ops@example.org
        wood alert --redis redis://localhost:6379/0 --once

    Alerts: node-lost, redis-unreachable, journal-stalled, reader-behind, journal-forked, errors,
    disk-nearly-full, redis-not-writing. docs/operations.md says of each what to do. All are told to
    the log, and to whoever else is named; who is away is told later, with counts.
    """
    if chosen["redis"] is None and not chosen["health"] and not chosen["disk"]:
        raise click.UsageError("name what to watch: --redis URL or --health HOST:PORT")
    thresholds = Thresholds(**{name: chosen[name] for name in Thresholds.__struct_fields__})
    if chosen["once"]:
        asyncio.run(_once(chosen, thresholds))
        return
    handler = logging.StreamHandler()
    handler.setFormatter(PlainText("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sinks = _sinks(chosen)
    with _graylog(chosen["graylog"], chosen["name"]):
        asyncio.run(_watch_over(chosen, thresholds, sinks))


async def _watch_over(chosen: dict[str, Any], thresholds: Thresholds, sinks: list[Sink]) -> None:
    calm, repeat = chosen["calm"], chosen["repeat"]
    await watch_over(_watch(chosen, thresholds), thresholds, sinks, calm=calm, repeat=repeat)


async def _once(chosen: dict[str, Any], thresholds: Thresholds) -> None:
    wrong = await wrong_now(_watch(chosen, thresholds), thresholds)
    for text in wrong:
        click.echo(text)
    if wrong:
        raise SystemExit(1)
    click.echo("no alerts")


def _watch(chosen: dict[str, Any], thresholds: Thresholds) -> Watch:
    return Watch(
        redis=chosen["redis"],
        prefix=chosen["prefix"],
        nodes=chosen["health"],
        disks=chosen["disk"],
        interval=chosen["interval"],
        thresholds=thresholds,
    )


def _sinks(chosen: dict[str, Any]) -> list[Sink]:
    """The log, and who else is named. Raises `ConfigError`."""
    sinks: list[Sink] = [LogSink()]
    if (chosen["smtp"] is None) != (not chosen["mail_to"]):
        raise click.UsageError("--smtp and --mail-to need each other")
    if chosen["smtp"] is not None:
        server = MailServer.parse(chosen["smtp"])
        sender = chosen["mail_from"] or f"wood@{socket.gethostname()}"
        sinks += [MailSink(server, sender, recipient) for recipient in chosen["mail_to"]]
        if server.readable:
            log.warning("--smtp: the password is sent in the plain; use ?starttls or smtps://")
    return sinks + webhooks([Hook.parse(url) for url in chosen["webhook"]])


@contextmanager
def _graylog(url: str | None, name: str | None) -> Iterator[None]:
    """Have what is logged meanwhile sent to Graylog too."""
    if url is None:
        yield
        return
    sender = start_log_sender(
        Address.parse(url), name or f"alerts@{socket.gethostname()}", "alerts"
    )
    logging.getLogger().addHandler(sender)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(sender)
        sender.close()
