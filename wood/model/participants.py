"""Who may trade: a participant's name, and the token that proves it."""

import re
import secrets
from hashlib import sha256

from msgspec import Struct

from wood.model.limits import Limits

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}", re.ASCII)

_ANONYMOUS = re.compile(r"~([0-9a-f]{8})", re.ASCII)

NAME_RULE = "1 to 32 of the characters A-Z a-z 0-9 _ . -"


def is_name(text: str) -> bool:
    """Whether a participant can be called so. Anonymous ones are not: their names have a tilde."""
    return _NAME.fullmatch(text) is not None


def anonymous_name(now: int) -> str:
    """A random name that no login can take; it tells when its connection was made, in seconds."""
    return f"~{now:08x}{secrets.token_hex(6)}"


def anonymous_since(name: str) -> int | None:
    """When an anonymous participant connected, None if the name is none of theirs."""
    match = _ANONYMOUS.match(name)
    return int(match[1], 16) if match else None


class Participant(Struct, frozen=True):
    """One who has a token. `digest` is that token's SHA-256 in hexadecimal; it is not kept itself.

    `added` is in seconds since the epoch. An `operator` may cancel orders of others and halt
    trading. `limits` are its own, by symbol, with `EVERYWHERE` for those of all instruments.
    """

    digest: str
    added: int
    operator: bool = False
    disabled: bool = False
    limits: dict[str, Limits] = {}


def new_token() -> str:
    """256 random bits, as 43 characters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is kept of a token. A plain hash will do: nobody can guess 256 random bits."""
    return sha256(token.encode()).hexdigest()
