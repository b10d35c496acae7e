"""What wood does in Redis, as rights of a user: `deploy/redis.acl` grants these, nothing else."""

from collections.abc import Iterator

import msgpack
from redis.exceptions import NoPermissionError

from wood.exchange.cluster.client import connect
from wood.exchange.cluster.keys import Keys
from wood.exchange.cluster.scripts import RIGHTS
from wood.model.errors import ConfigError

ON_KEYS = (
    *("HDEL", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSCAN", "HSET", "HSETNX"),
    *("LINDEX", "LPOP", "LRANGE", "LTRIM", "RPUSH", "UNLINK", "XADD", "XRANGE", "XTRIM"),
    *("ZADD", "ZCOUNT", "ZMSCORE", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZREM"),
    *("ZREMRANGEBYSCORE", "ZSCORE"),
)
ON_CHANNELS = ("SPUBLISH", "SSUBSCRIBE")
ON_NOTHING = ("INFO", "TIME")
SCRIPTS = ("EVALSHA", "SCRIPT|LOAD")
CONNECTING = ("CLUSTER|SLOTS", "PING", "SELECT")
"""To find the master of a Redis Cluster, for health checks, and for another database than 0."""

SHOWN = 5
"""Commands that are named in a line."""


def acl_rules(prefix: str) -> str:
    """The rules of a user for the exchange under `prefix`, but for its password."""
    commands = sorted((*ON_KEYS, *ON_CHANNELS, *ON_NOTHING, *SCRIPTS, *CONNECTING))
    granted = " ".join(f"+{command.lower()}" for command in commands)
    return f"on resetchannels ~{prefix}:* &{prefix}:* -@all {granted}"


async def check_rights(url: str, prefix: str, tag: str) -> None:
    """Whether the user of `url` may do in a partition all that a node does.

    A node that found it out later would do it in the middle of a batch. Raises `ConfigError`, and
    what the client raises.
    """
    keys = Keys(prefix, tag)
    client = connect(url, keys.meta)
    needed = list(_needed(keys))
    try:
        refused = await RIGHTS.run(client, [], msgpack.packb(needed))
    except NoPermissionError:
        what = "run scripts (EVALSHA, SCRIPT LOAD)"
    else:
        names = [needed[place - 1][0] for place in refused]
        if not names:
            return
        more = f" and {len(names) - SHOWN} others" if len(names) > SHOWN else ""
        what = f"use {', '.join(names[:SHOWN])}{more} on names that begin with {prefix}:"
    finally:
        await client.aclose()
    raise ConfigError(
        f"Redis does not let the user of --redis {what}; deploy/redis.acl has all that it needs"
    )


def _needed(keys: Keys) -> Iterator[list[str]]:
    # Whatever a command takes for a key is one.
    yield from ([command, *[keys.meta] * 4] for command in ON_KEYS)
    yield from ([command, keys.channel("id")] for command in ON_CHANNELS)
    yield from ([command] for command in ON_NOTHING)
