"""A partition in Redis with one writer and no node: commands go straight to the script."""

import gc
from collections.abc import Iterable, Sequence
from time import perf_counter

from msgspec import Struct

from wood.exchange.cluster.client import Client
from wood.exchange.cluster.exchange import KEPT
from wood.exchange.cluster.formats import EncodedBatch, encode_batch
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.membership import LEASE, Membership
from wood.exchange.cluster.scripts import DECIDE
from wood.exchange.cluster.trading import TradingTexts
from wood.model.errors import WoodError
from wood.model.instruments import Instrument, Instruments
from wood.tools.bench.flow import SYMBOL, Request

_INSTRUMENTS = Instruments([Instrument(SYMBOL)])
_NO_LIMIT = 10**9


class SizedBatch(Struct, frozen=True):
    """A batch on its way, and how many commands it has."""

    size: int
    encoded: EncodedBatch


class Cost(Struct, frozen=True):
    """What some commands took: seconds on the clock, and those of the script itself of them."""

    commands: int
    seconds: float
    script_seconds: float


class Partition:
    """The partition under `prefix`."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.keys = Keys(prefix)
        self._client = client
        limits = (_NO_LIMIT, _NO_LIMIT, KEPT)
        self._membership = Membership(
            client,
            self.keys,
            instruments=_INSTRUMENTS,
            limits=limits,
            persist=False,
            lease=LEASE,
        )
        self._trading = TradingTexts(_INSTRUMENTS)
        self._number = 0

    async def join(self) -> None:
        """Claim it, as the first node of a cluster does."""
        await self._membership.join(starting=True)

    async def play(self, batches: Sequence[SizedBatch]) -> Cost:
        """Have batches decided, one after the other. Raises `WoodError` if one is not taken."""
        gc.collect()
        gc.disable()  # a collection here would show as a pause of the script
        try:
            script = await self._script_seconds()
            began = perf_counter()
            for batch in batches:
                await self._decide(batch)
            ended = perf_counter()
            script = await self._script_seconds() - script
        finally:
            gc.enable()
        return Cost(sum(batch.size for batch in batches), ended - began, script)

    async def _decide(self, batch: SizedBatch) -> None:
        self._number += 1
        keys = [*self.keys.fixed, *self.keys.of(batch.encoded.symbols)]
        answer = await DECIDE.run(
            self._client,
            keys,
            self._membership.writer,
            self._number,
            batch.encoded.data,
            self.keys.channels(),
            batch.encoded.tokens,
            self._trading.of(batch.encoded.symbols),
        )
        if answer[0] != b"ok" or answer[1] != batch.size:
            raise WoodError(f"the script did not take a batch of {batch.size}: {answer[:2]}")

    async def _script_seconds(self) -> float:
        """What the server has spent in scripts so far."""
        stats = await self._client.info("commandstats")
        return float(stats.get("cmdstat_evalsha", {"usec": 0})["usec"]) / 1e6


def batches(requests: Iterable[Request], size: int) -> list[SizedBatch]:
    """Requests in batches of `size`, encoded as a node does it."""
    requests = list(requests)
    parts = (requests[at : at + size] for at in range(0, len(requests), size))
    return [SizedBatch(len(part), encode_batch(part, [SYMBOL])) for part in parts]
