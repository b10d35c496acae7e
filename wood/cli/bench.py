"""Placeholder until the tool is here."""

import click


@click.command()
def bench() -> None:
    """Placeholder."""
