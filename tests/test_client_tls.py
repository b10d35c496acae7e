"""Clients that speak TLS: the library and the tools, and what they say when they cannot."""

import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.client_plays import run
from tests.support import PATIENCE, ROOT, Server, clean_environment, eventually, run_wood
from tests.tls import HOST, Office
from wood.client import Client, ConnectionLost, LoginRefused, New, PublicClient, client_tls
from wood.model.errors import ConfigError


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture
def server(start_server: Callable[..., Server], office: Office) -> Server:
    return start_server(*office.options)


def test_the_library_trades_and_watches(server: Server, office: Office) -> None:
    tls = client_tls(office.ca, office.participant("alice"))
    private, public = (HOST, server.private), (HOST, server.public)

    async def play() -> None:
        async with Client([private], "alice", tls=tls) as client:
            await client.create("BUY", 5, 1)
            assert isinstance(await anext(client), New)
        async with PublicClient([public], ["WOOD"], tls=client_tls(office.ca)) as market:
            assert list(market.book().bids) == [(Decimal(5), Decimal(1))]

    run(play())


def test_a_client_that_closes_hears_what_became_of_its_orders(
    server: Server, office: Office
) -> None:
    """It cannot half-close, so it waits for the answers."""

    async def play() -> None:
        tls = client_tls(office.ca, office.participant("alice"))
        client = Client([(HOST, server.private)], "alice", tls=tls)
        async with client:
            for number in range(50):
                await client.create("BUY", 5, 1, order_id=number)
        assert [type(report) async for report in client] == [New] * 50

    run(play())


def test_a_certificate_is_of_one_participant(server: Server, office: Office) -> None:
    tls = client_tls(office.ca, office.participant("alice"))

    async def play() -> None:
        with pytest.raises(LoginRefused, match="another participant"):
            await Client([(HOST, server.private)], "bob", tls=tls).__aenter__()

    run(play())


def test_a_server_that_is_not_trusted(server: Server, tmp_path: Path) -> None:
    stranger = Office(tmp_path / "stranger")

    async def play() -> None:
        with pytest.raises(ConnectionLost, match="its certificate is not trusted: "):
            async with Client([(HOST, server.private)], tls=client_tls(stranger.ca)):
                pass

    run(play())


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
def test_files_that_are_of_no_use(office: Office, tmp_path: Path, which: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text("no")
    files = {"ca": office.ca, "cert": office.cert, "key": office.cert} | {which: bad}
    with pytest.raises(ConfigError, match="cannot use "):
        client_tls(**files)
    with pytest.raises(ConfigError, match="without its certificate"):
        client_tls(key=office.cert)


class TestTools:
    def test_watch(self, server: Server, office: Office) -> None:
        command = ["watch", "--public", str(server.public), "--tls-ca", str(office.ca)]
        process = subprocess.Popen(
            [sys.executable, "-m", "wood", *command],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(),
        )
        eventually(lambda: "subscriber p1 opened" in server.text())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0

    def test_traders(self, server: Server, office: Office) -> None:
        command = ["-c", "-n", "2", "--port", str(server.private), "--tls-ca", str(office.ca)]
        process = subprocess.Popen(
            [sys.executable, "-m", "wood", *command, "--rate", "100"],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(),
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"trader ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0

    def test_bench(self, server: Server, office: Office) -> None:
        done = run_wood(
            *("bench", "-p", str(server.private), "--public", str(server.public), "-n", "500"),
            *("--tls-ca", str(office.ca)),
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("tool", [("watch", "--public"), ("-c", "--port")])
    def test_say_what_is_wrong(
        self, server: Server, tmp_path: Path, tool: tuple[str, str], office: Office
    ) -> None:
        stranger = Office(tmp_path / "stranger")
        port = server.public if tool[0] == "watch" else server.private
        done = run_wood(*tool, str(port), "--tls-ca", str(stranger.ca))
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "its certificate is not trusted: " in done.stderr

    def test_a_server_that_does_not_speak_it(
        self, start_server: Callable[..., Server], office: Office
    ) -> None:
        plain = start_server()
        done = run_wood("watch", "--public", str(plain.public), "--tls-ca", str(office.ca))
        assert done.returncode == 1
        assert "no TLS" in done.stderr


def test_an_operator_acts_by_its_certificate(
    start_server: Callable[..., Server], office: Office, tmp_path: Path
) -> None:
    file = tmp_path / "participants.json"
    run_wood("participant", "add", "root", "--operator", "--participants", str(file))
    server = start_server(*office.options, "--participants", str(file))
    where = ["--operator", "root", "--port", str(server.private), "--tls-ca", str(office.ca)]
    mine = ["--tls-client-cert", str(office.participant("root"))]
    assert run_wood("halt", "WOOD", *where, *mine).stdout == "WOOD is halted\n"
    assert (
        run_wood("cancel", "--participant", "bob", *where, *mine).stdout == "cancelled 0 orders\n"
    )
    others = ["--tls-client-cert", str(office.participant("alice"))]
    refused = run_wood("resume", "WOOD", *where, *others)
    assert refused.returncode == 1
    assert "the certificate names another participant" in refused.stderr
    missing = run_wood("resume", "WOOD", *where)
    assert missing.returncode == 2
    assert "Missing option '--token'" in missing.stderr
