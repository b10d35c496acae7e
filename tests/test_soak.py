"""The short version of scripts/soak.py."""

from collections.abc import Callable

import pytest

from tests.redis_server import RedisServer
from tests.soak import Plan, soak
from tests.support import Server
from tests.test_cluster_failures import ALWAYS

SEED = 5
"""Draws all kinds of faults early."""


@pytest.mark.parametrize("partitions", [1, 2])
def test_soak(
    start_redis: Callable[..., RedisServer],
    start_server: Callable[..., Server],
    full: bool,
    partitions: int,
) -> None:
    """Nodes killed, frozen and restarted, Redis restarted: every account is exact."""
    redis = start_redis(*ALWAYS)
    plan = Plan(
        orders=20_000 if full else 3_000,
        clients=10,
        nodes=3,
        seed=SEED,
        faults=60 if full else 12,
        lease=1.0,
        grace=0.5,
        heartbeat=0.1,
        partitions=partitions,
    )
    result = soak(plan, start_server, redis, print)
    print(result.summary())
    assert not result.differences
    assert result.faults.keys() >= {"node killed", "node frozen", "node goes on", "Redis killed"}
    assert result.counts["sessions resumed"] > 0
