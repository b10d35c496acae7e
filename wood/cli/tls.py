"""How a command that is a client says that the server speaks TLS."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from wood.client.tls import client_tls

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_OPTIONS = [
    click.option(
        "--tls", is_flag=True, show_envvar=True, help="Speak TLS; --tls-ca and the like do so too."
    ),
    click.option(
        "--tls-ca",
        type=_FILE,
        show_envvar=True,
        help="Trust who these certificates (PEM) vouch for.",
    ),
    click.option(
        "--tls-client-cert", type=_FILE, show_envvar=True, help="Show this certificate (PEM)."
    ),
    click.option(
        "--tls-client-key", type=_FILE, show_envvar=True, help="Its private key. [the same file]"
    ),
]


def tls_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options `tls`, `tls_ca`, `tls_client_cert` and `tls_client_key`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_tls(settings: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What these options ask for; None for plain TCP. Raises `ConfigError`."""
    ca, cert, key = (settings[name] for name in ("tls_ca", "tls_client_cert", "tls_client_key"))
    return client_tls(ca, cert, key) if settings["tls"] or ca or cert or key else None
