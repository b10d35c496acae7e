"""Random traders: they keep a market moving, for a demonstration or for days."""

from wood.tools.traders.run import run_traders

__all__ = ["run_traders"]
