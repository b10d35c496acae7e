"""What becomes of a connection when the engine cannot take what was said on it."""

import pytest

from tests.engines import with_loop
from tests.test_node_private import HEARTBEAT, LOGIN, connected
from wood.model.commands import CancelAll, Command, Heartbeat, ListOrders, OpenSession
from wood.model.errors import ErrorCode
from wood.model.events import Batch, CommandRefused

REFUSED = CommandRefused("~x", "~x", ErrorCode.UNAVAILABLE, "x", None, None)


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        # What came after a query was held back, and is let go.
        (b'{"message":"orders"}\n', [ListOrders, Heartbeat]),
        # What came after a login is held back until that is answered itself.
        (b'{"message":"cancelAll"}\n' + LOGIN, [CancelAll, OpenSession]),
    ],
    ids=["query", "login"],
)
def test_what_comes_after_a_refusal(data: bytes, asked: list[type[Command]]) -> None:
    told: list[list[Command]] = []

    async def test() -> None:
        connection, transport = connected(told)
        router = connection._node.router
        router.places["main"] = 1, 0
        connection.data_received(data + HEARTBEAT)
        router.apply(Batch("main", 1, "w", 1, 1, 0, 0, [REFUSED]))
        assert [line["code"] for line in transport.told()] == ["unavailable"]
        transport.socket.close()

    with_loop(test)
    assert [type(command) for commands in told for command in commands] == asked
