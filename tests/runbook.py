"""The runbook of docs/operations.md, as those read it who are called in the night."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support import PATIENCE, ROOT, clean_environment

PAGE = ROOT / "docs" / "operations.md"
FIRST = "first of all"
"""The section before those of single alerts."""


class Expected(NamedTuple):
    """How a command ends, and what is to be found in what it says."""

    code: int
    says: str


def sections() -> dict[str, list[str]]:
    """The commands of each section, in order, by the alert that it is about."""
    text = PAGE.read_text()
    whole = re.search(r"^## Runbook$(.*?)^## ", text, re.M | re.S)
    assert whole is not None
    parts = re.split(r"^### (.+)$", whole[1], flags=re.M)
    names = [FIRST, *parts[1::2]]
    return {name: commands(part) for name, part in zip(names, parts[::2], strict=True)}


def commands(text: str) -> list[str]:
    """Those of its shell blocks: one a line, without what is said beside them."""
    blocks = re.findall(r"^```sh$(.*?)^```$", text, re.M | re.S)
    lines = (re.sub(r"\s+#.*$", "", line).strip() for block in blocks for line in block.split("\n"))
    return [line for line in lines if line]


class Shell:
    """Runs commands as a person with these variables would, in a folder of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder / "shell"
        self.folder.mkdir()
        programs = folder / "programs"
        programs.mkdir()
        wood = programs / "wood"
        wood.write_text(f'#!/bin/sh\nexec {sys.executable} -m wood "$@"\n')
        wood.chmod(0o755)
        self._environment = clean_environment(PYTHONPATH=str(ROOT), COLUMNS="200", **variables)
        self._environment["PATH"] = f"{programs}:{self._environment['PATH']}"

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """To its end; what it says on either output is in `stdout`."""
        return subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self.folder, env=self._environment, timeout=2 * PATIENCE, check=False,
        )  # fmt: skip

    def follow(self, commands: list[str], expected: dict[str, Expected]) -> None:
        """Run all commands; each has to end as expected, and say so."""
        for command in commands:
            code, says = expected[command]
            done = self.run(command)
            said = f"{command}\n{done.stdout}"
            assert done.returncode == code, said
            assert re.search(says, done.stdout, re.S), said
