"""A participant on blocking sockets, who is cut off and comes back, step by step."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tests.accounts import Account, Report, differences, ledger, report_in
from tests.cluster import Cluster
from tests.support import Peer, Server, create, eventually
from tests.wires import Wire
from wood.model.events import Batch

DIALOGUE: list[dict[str, Any]] = [
    create(1, "BUY", 100, 10),
    create(2, "SELL", 100, 4),
    create(3, "BUY", 99, 5),
    {"message": "cancelOrder", "orderId": 1},
    {"message": "amendOrder", "orderId": 3, "quantity": 3},
    {"message": "cancelAll"},
    create(4, "BUY", 100, 1) | {"timeInForce": "FOK"},
]
"""Three creates of which two trade, a cancel, an amend, and nothing is left at the end.

The last order is cancelled at once: no change of a level stands between that and the next login.
"""


class Client:
    """One connection of the participant that an `Account` belongs to."""

    def __init__(self, account: Account, port: int, *, packed: bool = False) -> None:
        self.account = account
        self._wire = Wire(packed)
        self.peer = Peer("127.0.0.1", port)
        account.cut()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.peer.socket.close()

    def log_in(self) -> bool:
        """Log in, or resume; whether the answer came."""
        self.send(self.account.login())
        while not self.account.connected and self._hear():
            pass
        return self.account.connected

    def send(self, *messages: dict[str, Any]) -> None:
        """Send, as far as the line carries it."""
        with suppress(OSError):
            self.peer.socket.sendall(self._wire.encode(*messages))

    def say(self, *messages: dict[str, Any]) -> None:
        """Say something that is answered, in one write."""
        self.send(*[self.account.say(message) for message in messages])

    def converse(self, messages: Iterable[dict[str, Any]], *, step_by_step: bool) -> None:
        """Say all at once, or each when the last is answered; hear until all is, or the end."""
        for part in [[each] for each in messages] if step_by_step else [list(messages)]:
            self.say(*part)
            if not self.hear_all():
                return

    def hear_all(self) -> bool:
        """Hear until everything asked is answered; False if the line breaks before."""
        while self.account.asked:
            if not self._hear():
                return False
        return True

    def rest(self) -> list[dict[str, Any]]:
        """All that comes until the server closes. The account, which went on, is not told."""
        found: list[dict[str, Any]] = []
        with suppress(ConnectionError):
            while data := self.peer.socket.recv(1 << 16):
                found.extend(self._wire.feed(data))
        return found

    def _hear(self) -> bool:
        try:
            data = self.peer.socket.recv(1 << 16)
        except ConnectionError:
            return False
        for message in self._wire.feed(data):
            self.account.hear(message)
        return bool(data)


def resume(account: Account, port: int, *, packed: bool = False) -> Client:
    """Come back; it must work, with nothing lost."""
    client = Client(account, port, packed=packed)
    assert client.log_in(), account.errors
    assert not account.losses
    return client


def tidy_up(client: Client) -> None:
    """Cancel what is open, which is what the client knows to be open."""
    expected = len(client.account.open)
    client.converse([{"message": "cancelAll"}], step_by_step=True)
    assert client.account.said_last == {"message": "cancelAll", "canceled": expected}


def told_anew(account: Account, port: int) -> list[Report]:
    """All that the server has for the participant since its first login."""
    found: list[Report] = []
    with Peer("127.0.0.1", port) as peer:
        place = {"lastSeq": account.place.began, "epoch": account.place.epoch}
        peer.send({"message": "login", "participant": account.name} | place)
        while (message := peer.message())["message"] == "executionReport":
            found.append(report_in(message))
    assert message["recovered"] is True, message
    return found


def check_against_server(accounts: Iterable[Account], server: Server) -> None:
    """Each was told exactly what the server has for it, and knows of each order."""
    for account in accounts:
        assert not list(differences(account, told_anew(account, server.private)))


def check_against_journal(accounts: Iterable[Account], cluster: Cluster) -> list[Batch]:
    """Each was told exactly what the journal has for it, and what it has open is in the book."""
    batches = cluster.journal()
    by_journal = ledger(batches)
    book = cluster.orders()
    for account in accounts:
        assert not list(differences(account, by_journal[account.name]))
        in_book = {order_id: left for (who, order_id), left in book.items() if who == account.name}
        assert account.open == in_book
    return batches


def until_all_have_left(cluster: Cluster) -> None:
    """Wait until nobody is connected any more, so that nothing can come later."""
    with cluster.redis() as client:
        eventually(lambda: not client.exists(cluster.keys.sessions), "the end of all sessions")
