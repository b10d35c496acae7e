"""The short versions of scripts/measure_idle.py and scripts/measure_scale.py."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.support import PATIENCE, ROOT, clean_environment


def run(script: str, *options: str) -> str:
    ended = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *options],
        cwd=ROOT,
        env=clean_environment(PYTHONPATH="."),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_idle_connections(full: bool) -> None:
    crowd = ["--anonymous", "30", "--logged-in", "30", "--public", "60", "--at-once", "20"]
    said = run("measure_idle", *crowd, "--questions", "40", "--trades", "3", *["-m"] * full)
    assert len(re.findall(r"the node has grown by -?[\d,]+ bytes each", said)) == 3
    assert "a trade, 3 times, 60 subscribers are told" in said


@pytest.mark.parametrize("shape", ["1,2,1", "2,1,2,straight", "1,1,2,partitions,straight"])
def test_scale(shape: str) -> None:
    if not shape.endswith("straight") and shutil.which("haproxy") is None:
        pytest.skip("no haproxy on the PATH")
    said = run("measure_scale", "--shape", shape, "--rounds", "2", "-n", "2000", "-c", "4")
    assert "| messages/s |" in said
    assert said.count("| generator | HAProxy | nodes | Redis |") == 2
