"""Connections that look for the master when they connect, and break when it is one no more."""

from typing import Any

from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError

from wood.exchange.cluster.masters import Finder, NoMaster, SentinelFinder

TURNED_AWAY = (MovedError, ReadOnlyError, ClusterDownError)
"""What a server says that is not the master, or not any more."""


class MasterConnection(Connection):
    """Finds its address anew each time it connects.

    Of the client library it uses what its own connection for Sentinel does.
    """

    def __init__(self, *, finder: Finder, **options: Any) -> None:
        self._finder = finder
        self._pool: ConnectionPool | None = None
        super().__init__(**options)

    def belong_to(self, pool: ConnectionPool) -> None:
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
        except TURNED_AWAY as error:
            self._finder.turned_away(error, (self.host, self.port))
            await self.disconnect()
            if self._pool is not None:
                await self._pool.disconnect(inuse_connections=False)
            raise


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
