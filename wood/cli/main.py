"""The command `wood` and how every part of it reports a person's mistake."""

import sys

import click
from redis.exceptions import RedisError

from wood import __version__
from wood.cli.alert import alert
from wood.cli.bench import bench
from wood.cli.cancel import cancel
from wood.cli.cluster import cluster
from wood.cli.graylog import graylog
from wood.cli.halt import halt, resume
from wood.cli.participant import participant
from wood.cli.partition import export, reset
from wood.cli.replay import replay
from wood.cli.roles import pass_role, role_options
from wood.cli.status import status
from wood.cli.watch import watch
from wood.exchange.cluster.faults import is_denied
from wood.model.errors import WoodError
from wood.model.text import printable

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
def wood(context: click.Context, /, **settings: object) -> None:
    """A stock exchange that anyone can run.

    A cluster on this machine with two random traders; from another terminal, watch:

    \b
        wood cluster --traders 2
        wood watch

    Or a single process, and traders against it:

    \b
        wood -s
        wood -c -n 2

    Or be one node of a cluster, whose members share the book in Redis:

    \b
        wood -s -m --redis redis://localhost:6379/0 --persist
    """
    pass_role(context, settings)


for _command in (
    *(cluster, watch, replay, bench, export, reset, participant, cancel, halt, resume),
    *(graylog, alert, status),
):
    wood.add_command(_command)


def main() -> None:
    """Run the command line; a mistake is one line on standard error and an exit code of not 0."""
    try:
        code = wood(prog_name="wood", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "wood"
        _fail(f"{error.format_message()} (see '{where} -h')", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (WoodError, RedisError, OSError) as error:
        _fail(_denied(error) if is_denied(error) else str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    else:
        sys.exit(code or 0)


def _denied(error: Exception) -> str:
    return f"Redis does not let the user of --redis do this ({error}); see deploy/redis.acl"


def _fail(text: str, code: int) -> None:
    # Parts of it may be a server's words, which must not command the terminal.
    print(f"wood: {printable(' '.join(text.split()))}", file=sys.stderr)
    sys.exit(code)
