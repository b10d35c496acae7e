"""The server's own end when the program is at fault."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support import PATIENCE, ROOT, Peer, clean_environment, eventually

BROKEN = """
from wood.node.feed import Feed

def apply(self, batch):
    raise RuntimeError("a fault of the program")

Feed.apply = apply

from wood.cli import main

main()
"""


def test_a_fault_of_the_program_ends_it_loudly(tmp_path: Path) -> None:
    """Nobody may trade on a book that was told in part: connections close, the exit code is 1."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", BROKEN, "-s", "--private", "0", "--public", "0"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stderr=stderr, cwd=ROOT, env=clean_environment()) as process,
    ):
        eventually(lambda: "public port" in log.read_text() or process.poll() is not None)
        port = re.search(r"private port: \S+:(\d+)", log.read_text())
        assert port
        with Peer("127.0.0.1", int(port[1])) as peer:
            peer.send({"message": "cancelAll"})
            peer.rest()
        assert process.wait(PATIENCE) == 1
    text = log.read_text()
    assert "the engine failed; nobody may trade on what it says" in text
    assert text.splitlines()[-1] == (
        "wood: stopped, since the engine failed: RuntimeError('a fault of the program')"
    )
