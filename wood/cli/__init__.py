"""The command line: flags, subcommands, start and stop."""

from wood.cli.main import main

__all__ = ["main"]
