"""The options of the commands with which an operator acts: who asks, and which server."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from wood.cli.tls import chosen_tls, tls_options
from wood.tools.operator import Operator

_PORT = click.IntRange(1, 65535)

_OPTIONS = (
    click.option(
        "--operator",
        required=True,
        metavar="NAME",
        envvar="WOOD_OPERATOR",
        show_envvar=True,
        help="Who asks: a participant that was added with --operator.",
    ),
    click.option(
        "--token",
        envvar="WOOD_TOKEN",
        show_envvar=True,
        help="The operator's token, unless a certificate names it. Others on this machine can see "
        "a command line: better put it into the environment.",
    ),
    click.option("--host", default="127.0.0.1", show_envvar=True, help="The server's host."),
    click.option(
        "--port",
        "-p",
        type=_PORT,
        default=7001,
        show_envvar=True,
        help="The server's private port.",
    ),
)


def operator_options(command: Callable[..., None]) -> Callable[..., Any]:
    """Give `command` what `chosen_operator` needs."""
    command = tls_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_operator(settings: Mapping[str, Any]) -> Operator:
    """Who these options say. Raises `click.UsageError` and `ConfigError`."""
    if settings["token"] is None and settings["tls_client_cert"] is None:
        raise click.UsageError("Missing option '--token', or '--tls-client-cert' instead of it.")
    where = settings["host"], settings["port"]
    return Operator(*where, settings["operator"], settings["token"], chosen_tls(settings))
