"""A live order book and trade tape in the terminal, from the public port."""

from wood.tools.watch.run import watch

__all__ = ["watch"]
