"""The options of `wood` itself, which is a server with `-s` and random traders with `-c`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from wood.book.accounts import MAX_OPEN_ORDERS, MAX_RESTING_ORDERS
from wood.cli.listing import DEFAULT, listed
from wood.cli.names import checked_name
from wood.cli.numbers import FiniteRange
from wood.cli.partition import PREFIX_OPTION, REDIS_OPTION
from wood.cli.serve import serve
from wood.cli.tls import chosen_tls
from wood.cli.to_graylog import ToGraylog
from wood.cli.trading import texts_in, trading_options
from wood.exchange.cluster.engine import cluster_engine
from wood.exchange.cluster.exchange import KEPT
from wood.exchange.cluster.membership import LEASE
from wood.exchange.exchange import Exchange
from wood.exchange.journal import KEPT as MEMORY_KEPT
from wood.exchange.memory import MemoryExchange
from wood.exchange.participants import ParticipantFile
from wood.exchange.sessions import GRACE, Auth
from wood.graylog.address import Address
from wood.graylog.market import Which
from wood.model.errors import ConfigError
from wood.model.instruments import Instruments
from wood.node.settings import Settings
from wood.tools.traders import run_traders

PORT = click.IntRange(0, 65535)
AT_LEAST_1 = click.IntRange(min=1)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LEVELS = click.Choice(["debug", "info", "warning", "error"])


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, show_envvar=True, **settings)


def _networks(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """The trusted networks; none if the option is not given."""
    if value is None:
        return ()
    try:
        return tuple(ip_network(each.strip()) for each in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{error}: give addresses or networks, such as 127.0.0.1,10.0.0.0/8"
        ) from None


_OPTIONS = [
    _option("-s", "--serve", is_flag=True, help="Be the server."),
    _option(
        "-m",
        "--member",
        is_flag=True,
        help="-s: be one node of a cluster, whose members share the book in Redis.",
    ),
    _option("-c", "--client", is_flag=True, help="Be random traders."),
    _option(
        "--name",
        callback=checked_name,
        default=Settings.name,
        show_default=False,
        help="-s: what this server is called in logs, in metrics and by 'wood status'. [its host "
        "and private port]",
    ),
    _option("--host", default=Settings.host, help="Address to listen on, or of the server."),
    _option("--private", default=Settings.private, type=PORT, help="-s: port for participants."),
    _option("--public", default=Settings.public, type=PORT, help="-s: port for market data."),
    _option(
        "--health",
        default=Settings.health,
        type=PORT,
        help="-s: port for those who watch: GET /healthz while the process lives, GET /readyz "
        "while new connections are welcome, GET /status and /metrics for how it is; 0 is none.",
    ),
    _option(
        "--proxy-protocol",
        callback=_networks,
        metavar="NETWORKS",
        help="-s: addresses and networks of balancers, with commas between them. Only they may "
        "connect, and a PROXY header (version 1 or 2) says whose each connection is.",
    ),
    _option(
        "--tls-cert",
        type=_FILE,
        help="-s: speak TLS on both ports, with the certificate, and those that lead to its "
        "issuer, of this PEM file. Files are read again at SIGHUP, for new connections.",
    ),
    _option(
        "--tls-key",
        type=_FILE,
        help="-s: the PEM file of the certificate's private key. [the same file]",
    ),
    _option(
        "--tls-client-ca",
        type=_FILE,
        help="-s: accept certificates of clients that the ones in this PEM file issued: who has "
        "one is the participant that it names, and needs no token.",
    ),
    _option("--tls", is_flag=True, help="-c: speak TLS; --tls-ca and the like do so too."),
    _option("--tls-ca", type=_FILE, help="-c: trust who these certificates (PEM) vouch for."),
    _option("--tls-client-cert", type=_FILE, help="-c: show this certificate (PEM)."),
    _option("--tls-client-key", type=_FILE, help="-c: its private key. [the same file]"),
    _option(
        "--reuse-port",
        is_flag=True,
        help="-s: share both ports with other nodes on this machine (SO_REUSEPORT).",
    ),
    _option(
        "--drain",
        default=Settings.drain,
        type=FiniteRange(min=0, max=3600),
        help="-s: seconds that a node which is told to stop still serves, but is not ready for new "
        "connections; a second signal ends them.",
    ),
    _option(
        "--instrument",
        multiple=True,
        metavar="NAME:TICK:LOT",
        help=f"-s: list an instrument; repeatable, the first is the default one. [{DEFAULT}] With "
        "-m NAME:TICK:LOT@PARTITION puts it in a partition, which has a journal of its own.",
    ),
    _option(
        "--instruments",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="-s: list the instruments of this TOML file.",
    ),
    _option(
        "--line-limit",
        default=Settings.line_limit,
        type=click.IntRange(min=1024),
        help="-s: bytes of the longest message; a longer one closes its connection.",
    ),
    _option(
        "--max-open-orders",
        default=MAX_OPEN_ORDERS,
        type=AT_LEAST_1,
        help="-s: orders that one participant may have open at once.",
    ),
    _option(
        "--max-resting-orders",
        default=MAX_RESTING_ORDERS,
        type=AT_LEAST_1,
        help="-s: orders that all participants together may have open (some 200 bytes each, in "
        "Redis 400).",
    ),
    *trading_options("-s"),
    _option(
        "--max-participant-rate",
        default=0,
        type=click.IntRange(min=0),
        help="-s: messages per second of one participant over all its connections, on whatever "
        "node; 0 is no limit.",
    ),
    _option(
        "--max-connections",
        type=AT_LEAST_1,
        help="-s: connections at once, both ports together. [as many as there are descriptors]",
    ),
    _option(
        "--max-rate",
        default=Settings.max_rate,
        type=click.IntRange(min=0),
        help="-s: messages per second from one connection; 0 is no limit.",
    ),
    _option(
        "--max-address-connections",
        default=Settings.max_address_connections,
        type=click.IntRange(min=0),
        help="-s: connections at once from one address (of IPv6: from one /64), both ports "
        "together; 0 is no limit.",
    ),
    _option(
        "--max-address-rate",
        default=Settings.max_address_rate,
        type=click.IntRange(min=0),
        help="-s: messages per second from one address (of IPv6: from one /64), both ports "
        "together; 0 is no limit.",
    ),
    _option(
        "--output-limit",
        default=Settings.output_limit,
        type=click.IntRange(min=65536),
        help="-s: bytes of unread reports after which a participant is closed.",
    ),
    _option(
        "--backlog-limit",
        default=Settings.backlog_limit,
        type=AT_LEAST_1,
        help="-s: trades and levels kept for a slow reader of market data before it is closed.",
    ),
    _option(
        "--cancel-on-disconnect",
        is_flag=True,
        help="-s: cancel the orders of a connection that is gone and had not logged in.",
    ),
    _option(
        "--auth",
        default=Auth.OPEN.value,
        type=click.Choice([auth.value for auth in Auth]),
        help="-s: who may trade: anybody (a name that has a token needs it), or only who logs in "
        "with a token.",
    ),
    _option(
        "--participants",
        type=click.Path(dir_okay=False, path_type=Path),
        help="-s without -m: the file of those who have tokens, see 'wood participant'; read again "
        "when it changes.",
    ),
    _option(
        "--login-timeout",
        default=Settings.login_timeout,
        type=FiniteRange(min=0.1, max=3600),
        help="-s: seconds until a connection that has not logged in is closed, with --auth token.",
    ),
    _option(
        "--reconnect-grace",
        default=GRACE,
        type=FiniteRange(min=0, max=86400),
        help="-s: seconds in which a participant may come back before its orders are cancelled, if "
        "it asked for that.",
    ),
    REDIS_OPTION,
    PREFIX_OPTION,
    _option(
        "--persist",
        is_flag=True,
        help="-m: keep the book when all nodes stop; else the first one to start clears it.",
    ),
    _option(
        "--lease",
        default=LEASE,
        type=FiniteRange(min=1, max=3600),
        help="-m: seconds of silence after which a node is taken for dead.",
    ),
    _option(
        "--journal",
        type=click.IntRange(1, 1_000_000_000),
        help="-s: events that are kept at least, for those who come back. "
        f"[{MEMORY_KEPT:,}, of some 100 bytes; with -m {KEPT:,}, of some 60 in Redis]",
    ),
    _option("--log-level", default="info", type=LEVELS, help="-s: what is logged."),
    _option(
        "--graylog",
        metavar="URL",
        help="-s: send what is logged to Graylog as well, and without -m each trade: "
        "udp://host:12201, tcp:// or tls://.",
    ),
    _option(
        "--graylog-orders",
        is_flag=True,
        help="-s without -m: tell Graylog what becomes of each order too. In a cluster it is 'wood "
        "graylog' that tells of the market.",
    ),
    _option("-n", "--number", default=1, type=AT_LEAST_1, help="-c: how many traders."),
    _option(
        "-p",
        "--port",
        # Not WOOD_PORT, which container platforms set for a service named wood, to an address.
        envvar="WOOD_CLIENT_PORT",
        default=Settings.private,
        type=click.IntRange(1, 65535),
        help="-c: the server's port.",
    ),
    _option(
        "--rate",
        default=5.0,
        type=FiniteRange(min=0, min_open=True),
        help="-c: messages per second of each trader, on average.",
    ),
    _option("--seed", type=int, help="-c: the same seed draws the same orders."),
    _option("--symbol", help="-c: trade this instrument, not the default one."),
]


def role_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options of both roles, in the order in which help shows them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pass_role(context: click.Context, settings: dict[str, Any]) -> None:
    """Do what `-s` or `-c` asks, or leave it to the subcommand. Raises `click.UsageError`."""
    if context.invoked_subcommand is not None:
        _no_options_before(context)
    elif settings["serve"] and settings["client"]:
        raise click.UsageError("choose one of -s and -c")
    elif settings["member"] and not settings["serve"]:
        raise click.UsageError("-m goes with -s: wood -s -m")
    elif not settings["member"] and (name := _for_members(context)):
        raise click.UsageError(f"--{name} needs -m: a single server keeps its book in memory")
    elif settings["member"] and settings["graylog_orders"]:
        raise click.UsageError(
            "--graylog-orders is for a single server: 'wood graylog --orders' tells of a cluster's"
        )
    elif settings["member"] and settings["participants"]:
        raise click.UsageError("--participants is for a single server: a cluster has them in Redis")
    elif _needs_participants(settings):
        raise click.UsageError("--auth token needs --participants FILE: it says who has a token")
    elif (settings["tls_key"] or settings["tls_client_ca"]) and not settings["tls_cert"]:
        raise click.UsageError("--tls-key and --tls-client-ca go with --tls-cert")
    elif settings["graylog_orders"] and settings["serve"] and not settings["graylog"]:
        raise click.UsageError("--graylog-orders goes with --graylog URL: it says where to")
    elif settings["serve"]:
        _serve(settings)
    elif settings["client"]:
        asyncio.run(
            run_traders(
                settings["host"],
                settings["port"],
                settings["number"],
                settings["rate"],
                settings["seed"],
                settings["symbol"],
                tls=chosen_tls(settings),
            )
        )
    else:
        click.echo(context.get_help())


def _for_members(context: click.Context) -> str | None:
    """An option that would do nothing without -m.

    A server is told of `--persist` also if the environment says it; a trader that shares the
    environment of nodes is not.
    """
    for name in ("persist", "redis", "prefix", "lease"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return name
    return "persist" if context.params["persist"] and not context.params["client"] else None


def _needs_participants(settings: dict[str, Any]) -> bool:
    """Whether a server lets in only who has a token, and nobody has."""
    someone = settings["member"] or settings["participants"] or settings["client"]
    return settings["auth"] == Auth.TOKEN and not someone


def _serve(settings: dict[str, Any]) -> None:
    names = Settings.__dataclass_fields__.keys() & settings.keys()
    chosen = {name: settings[name] for name in names} | {"auth": Auth(settings["auth"])}
    serve(_exchange(settings), Settings(**chosen), settings["log_level"], _graylog(settings))


def _graylog(settings: dict[str, Any]) -> ToGraylog | None:
    """Where Graylog is, and what it is told. Raises `ConfigError`."""
    if not settings["graylog"]:
        return None
    which = Which.ORDERS if settings["graylog_orders"] else Which.TRADES
    return ToGraylog(Address.parse(settings["graylog"]), which)


def _exchange(settings: dict[str, Any]) -> Callable[[], Awaitable[Exchange]]:
    """What makes the engine, once there is an event loop. Raises `ConfigError`."""
    trading = texts_in(settings)
    instruments = listed(settings["instrument"], settings["instruments"], trading)
    rules = {name: settings[name] for name in ("max_open_orders", "max_resting_orders")}
    rules |= {"auth": Auth(settings["auth"]), "grace": settings["reconnect_grace"]}
    rules["max_rate"] = settings["max_participant_rate"]
    if not settings["member"]:
        path = settings["participants"]
        file = None if path is None else ParticipantFile(path)
        kept = settings["journal"] or MEMORY_KEPT
        return partial(_memory, instruments, kept=kept, participants=file, **rules)
    return partial(
        cluster_engine,
        instruments,
        settings["redis"],
        settings["prefix"],
        persist=settings["persist"],
        kept=settings["journal"] or KEPT,
        lease=settings["lease"],
        **rules,
    )


async def _memory(instruments: Instruments, **options: Any) -> Exchange:
    if len(instruments.partitions) > 1:
        raise ConfigError("several partitions need -m: a single server has one journal")
    return MemoryExchange(instruments, **options)


def _no_options_before(context: click.Context) -> None:
    """An option that would do nothing is a mistake; one from the environment is for others."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            command = context.invoked_subcommand
            raise click.UsageError(f"options of {command} come after the word {command}")
