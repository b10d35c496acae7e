"""Connections that look for the master when they connect, and break when it is one no more."""

from typing import Any

from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as ConnectionBroken
from redis.exceptions import TimeoutError as Silence

from wood.exchange.cluster.masters import Finder, NoMaster, SentinelFinder

TURNED_AWAY = (MovedError, ReadOnlyError, ClusterDownError)
"""What a server says that is not the master, or not any more."""

ALONE = "NOREPLICAS"
"""What a master says that has lost its replicas: one of them may be the master now."""


class MasterConnection(Connection):
    """Finds its address anew each time it connects.

    Of the client library it uses what its own connection for Sentinel does.
    """

    def __init__(self, *, finder: Finder, **options: Any) -> None:
        self._finder = finder
        self._pool: MasterPool | None = None
        super().__init__(**options)

    def belong_to(self, pool: "MasterPool") -> None:
        """Take the other idle connections of a pool along when this one breaks."""
        self._pool = pool

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect, unless it is. Raises what is in `FAILURES`."""
        if not self.is_connected:
            self.host, self.port = await self._finder.find()
        await super().connect_check_health(*arguments, **options)

    async def on_connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Log in; see that this is a master, for a sentinel may be behind."""
        await super().on_connect_check_health(*arguments, **options)
        if isinstance(self._finder, SentinelFinder):
            await self.send_command("INFO", "replication")
            if b"role:master" not in await self.read_response():
                raise NoMaster("the sentinels name a server that is a replica")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer, or raise the error that it is."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if not isinstance(error, TURNED_AWAY) and not str(error).startswith(ALONE):
                raise
            self._finder.turned_away(error, (self.host, self.port))
            await self.disconnect()
            await self._take_along()
            raise
        except (ConnectionBroken, Silence):
            # A machine that vanished answers none: else each would cost a time-out of its own.
            await self._take_along()
            raise

    async def _take_along(self) -> None:
        if self._pool is not None:
            await self._pool.drop_idle()


class MasterConnectionTLS(MasterConnection, SSLConnection):
    """The same, encrypted."""


class MasterPool(ConnectionPool):
    """Makes them."""

    def make_connection(self) -> Any:
        """A new one, not yet connected."""
        pool: Any = super()  # whose method has no types
        connection = pool.make_connection()
        connection.belong_to(self)
        return connection

    async def drop_idle(self) -> None:
        """Close the connections that nobody uses; waits for nobody, for there may be nobody."""
        for connection in list(self._available_connections):
            await connection.disconnect(nowait=True)
