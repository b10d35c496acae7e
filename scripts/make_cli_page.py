"""Write docs/cli.md, the help of every command. Run it after a change of options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from wood.cli.main import wood

WIDTH: dict[str, Any] = {"terminal_width": 100}
PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

The help of each command, written by `scripts/make_cli_page.py` and compared in the tests. Every
option is also an environment variable, named beside it; one on the command line wins.
"""


def page() -> str:
    """The whole page."""
    context = click.Context(wood, info_name="wood", **{**wood.context_settings, **WIDTH})
    sections = [
        f"## `{part.command_path}`\n\n```text\n{part.get_help()}\n```\n"
        for part in (context, *_below(context))
    ]
    return "\n".join([HEAD, *sections])


def _below(context: click.Context) -> Iterator[click.Context]:
    """Each command of a group, and after it its own ones."""
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            inner = click.Context(command, info_name=name, parent=context, **WIDTH)
            yield inner
            yield from _below(inner)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
