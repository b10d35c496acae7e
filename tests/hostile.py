"""What tests of hostile clients share."""

import socket

from tests.support import Peer


class From(Peer):
    """A client at another address of this machine."""

    def __init__(self, address: str, port: int) -> None:
        class Bound(socket.socket):
            def connect(self, where: object) -> None:
                self.bind((address, 0))
                super().connect(where)  # type: ignore[arg-type]

        real, socket.socket = socket.socket, Bound  # type: ignore[misc]
        try:
            super().__init__("127.0.0.1", port)
        finally:
            socket.socket = real  # type: ignore[misc]
