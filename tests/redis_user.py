"""The user that `deploy/redis.acl` ships, on servers of the tests' own."""

from pathlib import Path
from typing import Any

import redis

from tests.redis_server import RedisServer
from tests.support import ROOT

FILE = ROOT / "deploy" / "redis.acl"
PASSWORD = "p4ss-word"


def shipped() -> list[str]:
    """The words of its line: user, name, and its rules."""
    [line] = [line for line in FILE.read_text().splitlines() if line.startswith("user wood ")]
    return line.split(" ")


def granted() -> set[str]:
    """The commands that it may use, such as `hget` and `cluster|slots`."""
    return {word[1:] for word in shipped() if word.startswith("+")}


def set_user(server: RedisServer, *more: str) -> None:
    """Make the user by ACL SETUSER, whose words are those of the file; `more` are rules after."""
    with server.client() as client:
        words = (*shipped()[1:], f">{PASSWORD}", *more)
        client.execute_command("ACL", "SETUSER", words[0], "reset", *words[1:])


def url_of(url: str) -> str:
    """The same URL for this user."""
    return url.replace("://", f"://wood:{PASSWORD}@")


class AclFileServer(RedisServer):
    """One that begins with the shipped file, in which the user is given a password, or with `text`.

    The tests themselves come as somebody else.
    """

    def __init__(
        self, folder: Path, *options: str, binary: str | None, text: str | None = None
    ) -> None:
        if text is None:
            text = FILE.read_text().replace("user wood ", f"user wood >{PASSWORD} ")
        file = folder / "users.acl"
        file.write_text(f"{text}user root on nopass allkeys allchannels +@all\n")
        super().__init__(folder, "--aclfile", str(file), *options, binary=binary)

    def client(self, **settings: Any) -> redis.Redis:
        """A client of somebody who may do everything."""
        return super().client(**{"username": "root", "password": "any"} | settings)
