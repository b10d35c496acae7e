"""The engine on Redis: it passes the tests of every engine, on a real server."""

import pytest

from tests.engines import INSTRUMENTS
from tests.test_exchange import ExchangeTests
from wood.exchange.cluster.exchange import ClusterExchange


class TestClusterExchange(ExchangeTests):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url: str, prefix: str) -> None:
        self.url, self.prefix, self.count = redis_url, prefix, 0

    def exchange(self, max_open_orders: int = 100, kept: int = 100_000) -> ClusterExchange:
        self.count += 1
        return ClusterExchange(
            INSTRUMENTS,
            self.url,
            f"{self.prefix}:{self.count}",
            max_open_orders=max_open_orders,
            kept=kept,
        )
