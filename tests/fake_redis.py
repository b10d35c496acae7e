"""A Redis inside the process, for tests that need very many: fakeredis and what it lacks.

Its Lua is the real one, but has no `cmsgpack`, and there is no INFO. What it says of Redis itself
proves nothing: the same tests run on a real server too.
"""

from typing import Any

import msgpack
from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer

_INFO = """
    local call = redis.call
    redis.call = function(command, ...)
        if command == 'INFO' then return 'master_replid:0123456789abcdef' end
        return call(command, ...)
    end
"""


class Fake:
    """A server, empty at first."""

    def __init__(self) -> None:
        self._server = FakeServer()
        self.client().eval("return 1", 0)  # so that there is a Lua
        server: Any = self._server
        server._lua_runtime.execute(_INFO)
        server._lua_runtime.globals()[b"cmsgpack"] = _cmsgpack(server._lua_runtime)
        server._lua_expected_globals.add(b"cmsgpack")

    def connect(self, single: bool) -> "FakeClient":
        """What `ClusterExchange` takes for `clients`."""
        return FakeClient(server=self._server, single_connection_client=single, protocol=2)

    def client(self) -> Any:
        """A client for the tests themselves."""
        return FakeRedis(server=self._server, protocol=2)


class FakeClient(FakeAsyncRedis):
    """It says little of itself."""

    async def info(self, *_: object, **__: object) -> dict[str, Any]:
        return {"master_replid": "f00"}


def _cmsgpack(lua: Any) -> Any:
    """`pack` and `unpack` as Redis' Lua has them: any number of values, one after the other."""

    def plain(value: Any) -> Any:
        return [plain(value[i + 1]) for i in range(len(value))] if _is_table(value) else value

    def table(value: Any) -> Any:
        if isinstance(value, dict):
            return lua.table_from({key: table(each) for key, each in value.items()})
        if not isinstance(value, list):
            return value
        return lua.table_from({i: table(v) for i, v in enumerate(value, 1) if v is not None})

    def pack(*values: Any) -> bytes:
        packer = msgpack.Packer(use_bin_type=False)  # strings of Lua are bytes, and packed as str
        return b"".join(packer.pack(plain(value)) for value in values)

    def unpack(data: bytes) -> Any:
        unpacker = msgpack.Unpacker(raw=True)
        unpacker.feed(data)
        return tuple(table(value) for value in unpacker)

    return lua.table_from({b"pack": pack, b"unpack": unpack})


def _is_table(value: Any) -> bool:
    return type(value).__name__ == "_LuaTable"
