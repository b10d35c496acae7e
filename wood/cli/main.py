"""The command `wood` and how every part of it reports a person's mistake."""

import sys

import click

from wood import __version__
from wood.cli.bench import bench
from wood.cli.replay import replay
from wood.cli.roles import pass_role, role_options
from wood.cli.watch import watch
from wood.model.errors import WoodError

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "WOOD",
    "show_default": True,
    "max_content_width": 100,
}


@click.group(invoke_without_command=True, context_settings=CONTEXT)
@role_options
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def wood(context: click.Context, **settings: object) -> None:
    """A stock exchange that anyone can run.

    Serve on the default ports, then trade at random against it from another terminal, and watch:

    \b
        wood -s
        wood -c -n 2
        wood watch
    """
    pass_role(context, settings)


for _command in (watch, replay, bench):
    wood.add_command(_command)


def main() -> None:
    """Run the command line; a failure is one line on standard error and an exit code of not 0."""
    try:
        wood(prog_name="wood")
    except (WoodError, OSError) as error:
        print(f"wood: {error}", file=sys.stderr)
        sys.exit(1)
