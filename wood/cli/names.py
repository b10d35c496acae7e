"""What a process may be called: it is read in logs, by Graylog and by Prometheus."""

from typing import Any

import click

LONGEST = 100
"""Characters of a name."""


def checked_name(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """The name, or None or nothing if there is none. Raises `click.BadParameter`."""
    if value and (len(value) > LONGEST or not value.isprintable()):
        raise click.BadParameter(f"at most {LONGEST} characters, all of them to be read")
    return value
