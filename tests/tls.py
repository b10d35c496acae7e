"""Certificates that a test makes for itself, and servers and clients that use them."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.support import Peer, Server

HOST = "127.0.0.1"


class Office:
    """An issuer of certificates: of the server, and of participants."""

    def __init__(self, folder: Path, name: str = "office") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._folder = folder
        self.ca = folder / f"{name}-ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)
        self.cert = folder / f"{name}-server.pem"
        self.renew()

    def renew(self) -> None:
        """Give the server another certificate, with its key in the same file."""
        new = self._ca.issue_cert(HOST, "localhost", key_type=trustme.KeyType.ECDSA)
        new.private_key_and_cert_chain_pem.write_to_path(self.cert)

    def participant(
        self, common_name: str | None = None, *names: str, expired: bool = False
    ) -> Path:
        """A client's certificate and key, in one file."""
        days = timedelta(days=1)
        now = datetime.now(UTC)
        cert = self._ca.issue_cert(
            *names,
            common_name=common_name,
            key_type=trustme.KeyType.ECDSA,
            not_before=now - 2 * days,
            not_after=now - days if expired else now + days,
        )
        file = self._folder / f"client-{len(list(self._folder.iterdir()))}.pem"
        cert.private_key_and_cert_chain_pem.write_to_path(file)
        return file

    @property
    def options(self) -> tuple[str, ...]:
        """What a server is told that speaks TLS and knows participants by their certificates."""
        return "--tls-cert", str(self.cert), "--tls-client-ca", str(self.ca)

    def context(self, cert: Path | None = None) -> ssl.SSLContext:
        """A client that trusts the office."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if cert is not None:
            context.load_cert_chain(cert)
        return context


def secure(peer: Peer, context: ssl.SSLContext) -> Peer:
    """Shake hands on a connection; what was to be said in the plain must have been said."""
    try:
        peer.socket = context.wrap_socket(peer.socket, server_hostname=HOST)
    except BaseException:
        peer.socket.close()
        raise
    return peer


class SecureServer:
    """A server with TLS, and who connects to it."""

    def __init__(self, start: Callable[..., Server], office: Office, *options: str) -> None:
        self.office = office
        self.plain = start(*office.options, *options)

    def trader(self, cert: Path | None = None, receive_buffer: int | None = None) -> Peer:
        """A connection to the private port, perhaps with a certificate."""
        return secure(self.plain.trader(receive_buffer), self.office.context(cert))

    def watcher(self, receive_buffer: int | None = None) -> Peer:
        """A connection to the public port."""
        return secure(self.plain.watcher(receive_buffer), self.office.context())


class SlowTls:
    """A client whose bytes go out as a test wants them, and which can half-close."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self._socket = peer.socket
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=HOST)

    def shake_hands(self, before: bytes = b"", piece: int = 1 << 20) -> None:
        """Say `before` in the plain and right after it, in pieces of so many bytes, hello."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                before = self._flush(before, piece)
                self._fill()
            else:
                self._flush(before, piece)
                return

    def send(self, data: bytes, piece: int = 1 << 20) -> None:
        """Say `data`."""
        self._tls.write(data)
        self._flush(b"", piece)

    def say_no_more(self) -> None:
        """Half-close as TLS does it."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush(b"", 1 << 20)

    def rest(self) -> bytes:
        """All until the server says, in TLS, that it says no more; then the end."""
        with self._socket:
            return self._rest()

    def _rest(self) -> bytes:
        data = b""
        while True:
            try:
                piece = self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                self._fill()
            except ssl.SSLZeroReturnError:
                return data
            else:
                if not piece:
                    return data
                data += piece

    def _flush(self, before: bytes, piece: int) -> bytes:
        data = before + self._out.read()
        for start in range(0, len(data), piece):
            self._socket.sendall(data[start : start + piece])
        return b""

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        assert data, "cut off, not closed"
        self._in.write(data)
