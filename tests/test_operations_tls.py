"""What docs/operations.md says of TLS: its own commands, a running server, the shipped balancer."""

import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.haproxy import Balanced, Balancer, needs_haproxy
from tests.sessions import LOGIN, log_in
from tests.support import ROOT, Server, create, eventually, run_wood_here
from tests.tls import Office, SecureServer, secure

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL's command is not installed")
def test_certificates_as_the_page_makes_them(start_server: Start, tmp_path: Path) -> None:
    """They are for what they are for, and nothing else."""
    page = (ROOT / "docs/operations.md").read_text()
    (script,) = re.findall(r"```sh\n([^`]*?openssl req -x509.*?)```", page, re.S)
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("office.key", "server.pem", "alice.pem"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, f"{name} has a private key"
    ca, alice = str(tmp_path / "office.pem"), tmp_path / "alice.pem"
    server = start_server("--tls-cert", str(tmp_path / "server.pem"), "--tls-client-ca", ca)

    def context(cert: Path) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as it is by default from Python 3.13 on
        context.load_cert_chain(cert)
        return context

    with secure(server.trader(), context(alice)) as peer:
        assert peer.ask(LOGIN | {"participant": "bob"})["code"] == "unauthorized"
        log_in(peer)
    # The server's own is nobody's, and alice can issue none.
    stranger = context(tmp_path / "server.pem")
    with pytest.raises((ssl.SSLError, ConnectionError)), secure(server.trader(), stranger) as peer:
        peer.ask(LOGIN)
    purpose = ["openssl", "x509", "-in", str(alice), "-noout", "-purpose"]
    told = subprocess.run(purpose, capture_output=True, text=True, check=True).stdout
    assert "SSL client : Yes\n" in told
    assert "SSL server : No\n" in told
    assert "SSL client CA : No\n" in told


def test_the_signal_for_new_certificates_ends_who_has_none(
    start_server: Start, office: Office, tmp_path: Path
) -> None:
    server, plain = start_server(*office.options), Server(tmp_path)
    for each in (server, plain):
        each.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the certificates were read again" in server.text())
    eventually(plain.ended)
    assert plain.process.returncode == -signal.SIGHUP
    assert not server.ended()


def test_one_who_comes_by_certificate_is_locked_out(
    start_server: Start, office: Office, tmp_path: Path
) -> None:
    file = ("--participants", str(tmp_path / "participants.json"))
    assert run_wood_here("participant", "add", "bob", *file).returncode == 0
    server = SecureServer(start_server, office, *file)
    cert = office.participant("alice")
    with server.trader(cert) as peer:
        log_in(peer)
        assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        for word in ("add", "disable"):
            assert run_wood_here("participant", word, "alice", *file).returncode == 0
        assert [message.get("report") or message["code"] for message in peer.messages(2)] == [
            "CANCELED",
            "disabled",
        ]
        assert peer.message() is None
    with server.trader(cert) as peer:
        assert peer.ask(LOGIN)["code"] == "disabled"


@pytest.fixture
def balancer(start_server: Start, tmp_path: Path) -> Iterator[Balancer]:
    """Not started yet; it goes before the nodes do."""
    folder = tmp_path / "haproxy"
    folder.mkdir()
    balancer = Balancer(folder)
    yield balancer
    balancer.stop()


@needs_haproxy
def test_haproxy_passes_it_on(
    redis_url: str, prefix: str, start_server: Start, balancer: Balancer, office: Office
) -> None:
    """Nodes see the certificates, and the addresses, of the clients."""
    cluster = Balanced(start_server, redis_url, prefix, balancer, *office.options)
    assert [state.split()[0] for state in balancer.states()] == ["UP"] * 3
    peer = secure(balancer.trader(), office.context(office.participant("alice")))
    with peer, secure(balancer.watcher(), office.context()) as watcher:
        assert cluster.holder(peer)
        assert peer.ask(LOGIN | {"participant": "bob"})["code"] == "unauthorized"
        log_in(peer)
        assert peer.ask(create(1, "BUY", 5, 1))["report"] == "NEW"
        assert watcher.message()["price"] == 5
