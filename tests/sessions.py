"""What a client with a name does: log in, remember how far it is, log in again."""

from typing import Any

from tests.support import Peer

LOGIN = {"message": "login", "participant": "alice"}
HEARTBEAT = {"message": "heartbeat"}
ALL = {"message": "cancelAll"}


def log_in(peer: Peer, name: str = "alice", **keys: Any) -> Any:
    """The reply to a login, which must succeed and be the next message."""
    reply = peer.ask(LOGIN | {"participant": name} | keys)
    assert reply["message"] == "login", reply
    return reply


def again(reply: Any, seq: int | None = None, **keys: Any) -> dict[str, Any]:
    """The login that resumes what `reply` began, from `seq` on, or from the reply itself."""
    last = reply["seq"] if seq is None else seq
    known = {"session": reply["session"], "epoch": reply["epoch"], "lastSeq": last}
    return LOGIN | {"participant": reply["participant"]} | known | keys


def resume(peer: Peer, login: dict[str, Any]) -> tuple[list[Any], Any]:
    """Log in; what was replayed, and the reply."""
    peer.send(login)
    return rest_of(peer)


def rest_of(peer: Peer) -> tuple[list[Any], Any]:
    """The reports up to the reply to a login, and that."""
    reports = []
    while (message := peer.message())["message"] != "login":
        assert message["message"] == "executionReport", message
        reports.append(message)
    return reports, message


def numbers(reports: list[Any]) -> list[int]:
    """The numbers of reports, which must increase."""
    found = [report["seq"] for report in reports]
    assert found == sorted(set(found))
    return found


def until_canceled(watcher: Peer, price: int) -> None:
    """Wait until nothing is left of a level that is in the book."""
    line = watcher.message()
    while (line["price"], line["quantity"]) != (price, 0):
        line = watcher.message()


def is_open(peer: Peer, order_id: int) -> bool:
    """Whether the participant behind `peer` has that order open."""
    orders = peer.ask({"message": "orders"})["orders"]
    return order_id in [order["orderId"] for order in orders]


def bad_end(peer: Peer, code: str) -> None:
    """The next message is an error that ends the connection."""
    assert peer.message()["code"] == code
    assert peer.message() is None


def open_orders(peer: Peer, count: int) -> None:
    """Have orders from 0 on rest at 1, and read what is said of them."""
    line = b'{"message":"createOrder","orderId":%d,"side":"BUY","price":1,"quantity":1}\n'
    for start in range(0, count, 5000):
        end = min(start + 5000, count)
        peer.send(b"".join(line % number for number in range(start, end)))
        peer.lines(end - start)


MANY = ("--max-open-orders", "1000000")
