"""Through the real HAProxy, as docs/log.md says it has to be configured."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.gelf_receiver import HOST, GelfReceiver, needs_gelf
from tests.haproxy import BINARY, needs_haproxy
from tests.support import PATIENCE, ROOT, eventually, free_port
from tests.test_graylog_sink import confirmed, record
from wood.graylog.address import Address
from wood.graylog.sink import SinkDown, make_sink

CONFIG = """
defaults
    mode tcp
    timeout connect 1s
    timeout client 1m
    timeout server 1m
frontend in
    bind {host}:{port}
    {rule}
    default_backend graylog
backend graylog
    option tcp-check
    server graylog {host}:{behind} check inter 50 fall 1 rise 1 {marked}
"""


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Address]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(behind: int, rule: str, marked: str) -> Address:
        assert BINARY is not None
        port = free_port()
        config = tmp_path / "graylog.cfg"
        config.write_text(
            CONFIG.format(host=HOST, port=port, behind=behind, rule=rule, marked=marked)
        )
        with (tmp_path / "haproxy.log").open("wb") as log:
            processes.append(
                subprocess.Popen([BINARY, "-db", "-f", config], stdout=log, stderr=log)
            )
        return Address("tcp", HOST, port)

    yield start
    for process in processes:
        process.kill()
        process.wait(PATIENCE)


@needs_gelf
@needs_haproxy
def test_a_proxy_with_nobody_behind_it_confirms_nothing(
    start_gelf: Callable[..., GelfReceiver], start_proxy: Callable[..., Address]
) -> None:
    rule, marked = re.findall(r"`(tcp-request [^`]*|on-marked-down [^`]*)`", _docs())
    receiver = start_gelf()
    address = start_proxy(receiver.port, rule, marked)
    with closing(make_sink(address)) as sink:

        def arrives(number: int) -> bool:
            try:
                confirmed(sink, record(number))
            except SinkDown:
                return False
            return True

        eventually(lambda: arrives(1), "a way through the proxy")
        receiver.kill()
        eventually(lambda: not arrives(2), "a proxy that knows that nobody is there")
        assert not any(arrives(number) for number in range(3, 50))
        receiver.start()
        eventually(lambda: arrives(50), "a way again")
    assert {1, 50} <= {message["_seq"] for message in receiver.messages()}


def _docs() -> str:
    return (ROOT / "docs" / "log.md").read_text()
