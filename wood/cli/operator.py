"""The options of the commands with which an operator acts: who asks, and which server."""

from collections.abc import Callable
from typing import Any

import click

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
        required=True,
        envvar="WOOD_TOKEN",
        show_envvar=True,
        help="The operator's token. Others on this machine can see a command line: better put it "
        "into the environment.",
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
    """Give `command` the options `operator`, `token`, `host` and `port`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
