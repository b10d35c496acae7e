"""How many records of the log were errors or worse."""

import logging


class ErrorCount(logging.Handler):
    """Counts what any part of the process logs as an error, while it is installed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count it."""
        self.count += 1

    def install(self) -> None:
        """Hear of all records that are not held back on their way to the root."""
        logging.getLogger().addHandler(self)

    def remove(self) -> None:
        """Hear of no more. Safe to call twice."""
        logging.getLogger().removeHandler(self)
