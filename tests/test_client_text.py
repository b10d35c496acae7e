"""Words of a server, as a person may see them."""

import msgpack
import pytest

from tests.session_wire import create, line, logged_in
from tests.test_client_feed import begun, lines
from wood.client import LoginRefused, ProtocolError, Refused, SubscriptionRefused
from wood.client.codec import codec
from wood.client.feed import Feed
from wood.client.requests import Login
from wood.client.session import Session

EVIL = "\x1b[2J\x9b1m\u202e\r\n\u2028ok"
SEEN = r"\x1b[2J\x9b1m\u202e\r\n\u2028ok"


def error(code: str) -> dict[str, object]:
    return {"type": "error", "message": "error", "error": EVIL, "code": code}


@pytest.mark.parametrize("code", ["unavailable", "superseded", "rate"])
def test_on_the_private_port(code: str) -> None:
    session = logged_in()
    session.send(create(7))
    heard = session.receive(line(error(code) | ({"orderId": 7} if code == "rate" else {})))
    seen = [each.text for each in heard if isinstance(each, Refused)]
    assert SEEN in (session.lost or str(session.over) or "") + "".join(seen)


def test_when_a_login_is_refused() -> None:
    session = Session(codec("json"), Login(participant="alice"))
    session.connected()
    session.receive(line(error("unauthorized")))
    assert isinstance(session.over, LoginRefused)
    assert str(session.over) == SEEN


def test_on_the_public_port() -> None:
    feed = Feed(["WOOD"], None, "json")
    feed.connected()
    feed.receive(lines(error("unknown_symbol")))
    assert isinstance(feed.over, SubscriptionRefused)
    assert str(feed.over) == SEEN
    feed = Feed(["WOOD"], None, "json")
    feed.connected()
    feed.receive(lines(error("limit")))
    assert feed.lost == f"{SEEN} (limit)"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_what_cannot_be_read(encoding: str) -> None:
    """The error of the decoder quotes it."""
    word = codec(encoding)
    session = Session(word, None)
    session.connected()
    about = {"message": EVIL}
    data = line(about) if encoding == "json" else msgpack.packb(about)
    session.receive(data)
    assert isinstance(session.over, ProtocolError)
    assert str(session.over).isprintable()
    feed = Feed(["WOOD"], None, "json")
    begun(feed)
    feed.receive(lines({"type": EVIL}))
    assert isinstance(feed.over, ProtocolError)
    assert str(feed.over).isprintable()
