"""Real receivers of GELF that tests start, kill, stop and ask what has come.

Over UDP it is Graylog's own library for Go (Debian's golang-github-graylog2-go-gelf-dev); over TCP
and TLS rsyslog, which takes frames that end with a zero byte, and decodes JSON. Each writes down
what it has decoded, one message a line.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import PATIENCE, ROOT, eventually, free_port
from wood.graylog.address import Address

HOST = "127.0.0.1"

RSYSLOG = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
TLS = any(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so"))
GO = shutil.which("go")
LIBRARY = Path("/usr/share/gocode/src/github.com/Graylog2/go-gelf")

needs_gelf = pytest.mark.skipif(
    not (RSYSLOG and TLS and GO and LIBRARY.is_dir()),
    reason="the receivers of GELF are not installed (apt-get install rsyslog rsyslog-openssl "
    "golang-go golang-github-graylog2-go-gelf-dev)",
)

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="2m" {certificates})
main_queue(queue.type="direct") # what has been read is written before anything else is done
module(load="imtcp" {tls})
module(load="mmjsonparse")
template(name="decoded" type="string" string="%$!all-json%\\n")
ruleset(name="gelf") {{
    action(type="mmjsonparse" cookie="" useRawMsg="on")
    if $parsesuccess == "OK" then {{
        action(type="omfile" file="{file}" template="decoded" asyncWriting="off" flushOnTXEnd="on")
    }} else {{
        action(type="omfile" file="{file}.refused")
    }}
}}
input(
    type="imtcp" address="{host}" port="{port}" ruleset="gelf"
    addtlFrameDelimiter="0" disableLFDelimiter="on" supportOctetCountedFraming="off"
)
"""


class GelfReceiver:
    """A process that writes down what comes; it may be started again on its port."""

    def __init__(
        self, folder: Path, scheme: str, cert: Path | None = None, client_ca: Path | None = None
    ) -> None:
        """With `tls`, `cert` is its certificate with the key, and `client_ca` who issues those that
        clients have to show; None: they need none.
        """
        self.scheme = scheme
        self.port = free_port()
        self._folder = folder / f"gelf-{self.port}"
        self._folder.mkdir()
        self._file = self._folder / "messages"
        self._log = self._folder / "log"
        self._command = self._udp() if scheme == "udp" else self._rsyslog(cert, client_ca)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, **options: object) -> str:
        """Where it listens, for an option."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{self.scheme}://{HOST}:{self.port}" + (f"?{query}" if query else "")

    def address(self, **options: object) -> Address:
        """Where it listens."""
        return Address.parse(self.url(**options))

    def start(self) -> "GelfReceiver":
        """Start it, perhaps again, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        eventually(self._listens, "a receiver that listens")
        return self

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Let it stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def messages(self) -> list[dict[str, Any]]:
        """What has come, in all its lives; a last line that is not whole does not count."""
        lines = self._data().split(b"\n")[:-1]
        # Of a line that a kill cut the rest is missing, and another follows in its place.
        return [json.loads(line) for line in lines if line.endswith(b"}")]

    def count(self) -> int:
        """How many messages have come."""
        return self._data().count(b"\n")

    def until(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages, and return all there are."""
        eventually(lambda: self.count() >= count, f"{count} messages")
        return self.messages()

    def _data(self) -> bytes:
        return self._file.read_bytes() if self._file.exists() else b""

    def _udp(self) -> list[str]:
        return [str(_compiled()), f"{HOST}:{self.port}", str(self._file)]

    def _rsyslog(self, cert: Path | None, client_ca: Path | None) -> list[str]:
        certificates = tls = ""
        if cert is not None:
            certificates = f'defaultNetstreamDriverCertFile="{cert}" '
            certificates += f'defaultNetstreamDriverKeyFile="{cert}" '
            certificates += f'defaultNetstreamDriverCAFile="{client_ca or cert}"'
            mode = "anon" if client_ca is None else "x509/certvalid"
            tls = f'streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{mode}"'
        config = self._folder / "rsyslog.conf"
        config.write_text(
            CONFIG.format(
                folder=self._folder,
                file=self._file,
                host=HOST,
                port=self.port,
                certificates=certificates,
                tls=tls,
            )
        )
        assert RSYSLOG is not None
        return [RSYSLOG, "-n", "-f", str(config), "-i", "NONE"]

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        if self.scheme == "udp":
            return f":{self.port:04X} " in Path("/proc/net/udp").read_text()
        with suppress(OSError), socket.create_connection((HOST, self.port), PATIENCE):
            return True
        return False


def _compiled() -> Path:
    """The receiver over UDP, compiled once for all tests."""
    source = ROOT / "tests" / "gelf_udp" / "main.go"
    cache = ROOT / ".pytest_cache" / "gelf_udp"
    program = cache / "receiver"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / f"receiver-{os.getpid()}"
        assert GO is not None
        subprocess.run(
            [GO, "build", "-o", str(fresh), str(source)],
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GO111MODULE": "off",
                "GOPATH": str(LIBRARY.parents[3]),
                "GOCACHE": str(cache / "go"),
            },
        )
        fresh.replace(program)
    return program
