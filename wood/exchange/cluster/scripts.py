"""The Lua scripts, and how they are run: by their hash, handed over again when it is unknown."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from wood.exchange.cluster.client import Client


class Script:
    """Some files of `lua/`, joined: what one calls the other has before it."""

    def __init__(self, *names: str) -> None:
        folder = files(__package__) / "lua"
        self.source = "".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
        self._hash = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run it, atomically. Raises what the client does; see `client.fault`."""
        command = (self._hash, len(keys), *keys, *arguments)
        try:
            return await client.execute_command("EVALSHA", *command)
        except NoScriptError:
            # The server was started anew, or someone flushed its scripts.
            await client.execute_command("SCRIPT LOAD", self.source)
            return await client.execute_command("EVALSHA", *command)


DECIDE = Script(
    *("epoch", "decide", "books", "rules", "limits", "positions"),
    *("trade", "checks", "orders", "lists", "sessions", "sweep", "batch", "write"),
)
JOIN = Script("epoch", "members", "join")
BEAT = Script("epoch", "members", "beat")
LEAVE = Script("epoch", "members", "leave")
KEEP = Script("epoch", "keep")
RESET = Script("epoch", "members", "reset")
PARTICIPANT = Script("epoch", "participant")
RIGHTS = Script("rights")
