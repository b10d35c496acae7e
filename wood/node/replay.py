"""What a client missed that resumes: its reports out of the journal."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from wood.exchange.exchange import Partition
from wood.model.errors import JournalTrimmed
from wood.model.events import (
    Batch,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    Trade,
)
from wood.wire.reports import Reports


async def replay(
    journal: Partition,
    participant: str,
    after: int,
    until: int,
    reports: Reports,
    *,
    at_login: bool = True,
) -> AsyncGenerator[list[bytes], None]:
    """The reports of a participant with numbers greater than `after`, up to `until`.

    They come batch by batch. `at_login` says that `until` is the number of a login of its, which
    the journal must have. Raises `JournalTrimmed` if that was cut, or replaced, while it was read.
    """
    async with aclosing(journal.events(after, participant)) as batches:
        async for batch in batches:
            lines = _reports(batch, participant, after, until, reports)
            if lines:
                yield lines
            if batch.last >= until:
                return
    if at_login:
        raise JournalTrimmed(f"the journal ends before number {until}")


def _reports(
    batch: Batch, participant: str, after: int, until: int, reports: Reports
) -> list[bytes]:
    """Those of `participant` with numbers greater than `after`, up to `until`."""
    lines: list[bytes] = []
    time = batch.time
    for event in batch.events:
        if isinstance(event, Trade):
            if event.maker == participant and after < event.seq <= until:
                lines.append(reports.maker_fill(event, time))
            if event.taker == participant and after < event.seq + 1 <= until:
                lines.append(reports.taker_fill(event, time))
        elif isinstance(event, OrderAccepted | OrderCanceled | OrderAmended):
            if event.participant != participant or not after < event.seq <= until:
                continue
            if isinstance(event, OrderAccepted):
                lines.append(reports.new(event, time))
            elif isinstance(event, OrderCanceled):
                lines.append(reports.canceled(event, time))
            else:
                lines.append(reports.amended(event, time))
    return lines
