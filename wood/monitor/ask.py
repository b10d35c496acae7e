"""Asking Redis and nodes how the exchange is, again and again."""

import asyncio
import time
from collections.abc import Sequence

from wood.exchange.cluster.addresses import without_password
from wood.exchange.cluster.faults import FAILURES, is_denied
from wood.exchange.cluster.overview import Overview
from wood.model.node_report import NodeReport
from wood.monitor.known import known
from wood.monitor.lags import Lags
from wood.monitor.nodes import ask_node
from wood.monitor.summarize import Address, Away, Known, summarize
from wood.monitor.summary import Summary

LOOK_AGAIN = 0.5
"""Seconds until another look, where one report does not suffice."""

LOOKS = 5
"""At most: longer than from one beat of a node to the next."""


PATIENCE = 3.0
"""Seconds for all answers of Redis: less than nodes have, so that it is said before they do."""


class Store:
    """The exchange under `prefix` in the Redis at `url`. Close it in the end.

    Raises `ConfigError` if that is no URL of one.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = without_password(url)
        self._overview = Overview(url, prefix)

    async def ask(self) -> Known | Away:
        """How it is there now; why nobody knows."""
        try:
            async with asyncio.timeout(PATIENCE):
                return known(await self._overview.ask())
        except TimeoutError:
            return Away(f"Redis at {self._url} was silent for {PATIENCE:g} s")
        except FAILURES as error:
            if is_denied(error):
                return Away(f"Redis does not let the user of --redis do this ({error})")
            return Away(
                f"cannot reach Redis at {self._url} ({error}); a single server, which has none, is "
                "asked by --health HOST:PORT, its port for health checks"
            )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._overview.close()


class Asker:
    """Remembers what it needs of the last answers. Close it in the end."""

    def __init__(self, redis: Store | None, nodes: Sequence[Address]) -> None:
        self._redis = redis
        self._nodes = nodes
        self._lags = Lags()

    async def once(self) -> Summary:
        """How it is: where one report of a node leaves a doubt, after the next one."""
        for _ in range(LOOKS):
            summary = await self.ask()
            if not self._lags.doubtful:
                break
            await asyncio.sleep(LOOK_AGAIN)
        return summary

    async def ask(self) -> Summary:
        """How it is now, as far as it can be seen at once. Never raises for what is away."""
        redis, said = await asyncio.gather(
            self._redis.ask() if self._redis else _nothing(),
            asyncio.gather(*map(_said, self._nodes)),
        )
        now = round(time.time() * 1e6)
        answers = dict(zip(self._nodes, said, strict=True))
        return self._lags.settle(summarize(now, redis, answers))

    async def close(self) -> None:
        """Let go of the connections."""
        if self._redis:
            await self._redis.close()


async def _nothing() -> None:
    pass


async def _said(address: Address) -> NodeReport | str:
    try:
        return await ask_node(*address)
    except OSError as error:
        return str(error)
