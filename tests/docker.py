"""The Dockerfile without Docker: its steps, run in a folder that stands for the image's root."""

import fnmatch
import io
import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import NamedTuple

from dockerfile_parse import DockerfileParser

from tests.support import ROOT


class Instruction(NamedTuple):
    """Such as `USER` and what it says."""

    name: str
    value: str

    def argv(self) -> list[str]:
        """The words of a command in its JSON form, which no shell reads."""
        argv: list[str] = json.loads(self.value[self.value.index("[") :])
        return argv


def instructions() -> list[Instruction]:
    """Those of the project's Dockerfile, in order."""
    parser = DockerfileParser(fileobj=io.BytesIO((ROOT / "Dockerfile").read_bytes()))
    found = [Instruction(each["instruction"], each["value"]) for each in parser.structure]
    return [each for each in found if each.name != "COMMENT"]


def only(name: str) -> Instruction:
    """The last of that name, which is the one that counts in the image."""
    return [each for each in instructions() if each.name == name][-1]


def environment() -> dict[str, str]:
    """What `ENV` sets in the last stage."""
    found: dict[str, str] = {}
    for name, value in instructions():
        if name == "FROM":
            found.clear()
        elif name == "ENV":
            found |= dict(word.split("=", 1) for word in value.split())
    return found


def seen_under(source: str) -> list[Path]:
    """The files of the checkout at `source` that .dockerignore lets the build see, relative."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    files = [path for path in ((ROOT / source), *(ROOT / source).rglob("*")) if path.is_file()]
    return [path for file in files if _seen(path := file.relative_to(ROOT), rules)]


def _seen(path: Path, rules: list[str]) -> bool:
    """Whether a file is seen: the last rule that names it, or a folder it is in, decides."""
    names = [str(path), *(str(parent) for parent in path.parents[:-1])]
    seen = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        # What Docker calls ** may be nothing, too.
        patterns = {pattern, pattern.removeprefix("**/")}
        if any(_matches(name, each) for name in names for each in patterns):
            seen = rule.startswith("!")
    return seen


def _matches(name: str, pattern: str) -> bool:
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern)
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


class Image:
    """What the steps of the Dockerfile make, in `folder`.

    The image's root is a folder there, and its Python a fresh virtual environment. A stage begins
    with nothing of the one before, but for what `COPY --from` takes.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._python = folder / "python"
        self._stages = folder / "stages"
        venv.create(self._python, with_pip=True)
        self._variables: dict[str, str] = {}
        self._work = self.root
        self._stage = ""
        for instruction in instructions():
            self._follow(instruction)

    def variables(self) -> dict[str, str]:
        """The environment of a container, with the network settings of this one."""
        path = f"{self._python / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        network = {k: v for k, v in os.environ.items() if re.match(r"PIP_|SSL_|.*_PROXY$", k, re.I)}
        variables = {"PATH": path} | network
        for name, value in self._variables.items():
            variables[name] = value.replace("$PATH", path)
        return variables

    def _follow(self, instruction: Instruction) -> None:
        name, value = instruction
        if name == "FROM":
            self._begin(value.partition(" AS ")[2])
        elif name == "WORKDIR":
            self._work = Path(self._inside(value))
            self._work.mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            words = (word.split("=", 1) for word in value.split())
            self._variables |= {key: self._inside(text) for key, text in words}
        elif name == "COPY":
            self._copy(*value.split())
        elif name == "RUN":
            done = subprocess.run(
                ["sh", "-c", self._inside(value)],
                cwd=self._work, env=self.variables(), capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            known = {"EXPOSE", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
            assert name in known, f"what is {name}?"

    def _begin(self, stage: str) -> None:
        if self.root.exists():
            self._stages.mkdir(exist_ok=True)
            self.root.rename(self._stages / self._stage)
        self.root.mkdir()
        self._variables, self._work, self._stage = {}, self.root, stage

    def _copy(self, *words: str) -> None:
        *sources, target = words
        if sources[0].startswith("--from="):
            stage = self._stages / sources.pop(0).removeprefix("--from=")
            for source in sources:
                shutil.copytree(stage / source.strip("/"), self._inside(target), symlinks=True)
            return
        to = self._work / self._inside(target)
        for source in sources:
            files = seen_under(source)
            assert files, f"COPY finds no {source}: is it in .dockerignore?"
            for file in files:
                # A folder's contents are copied, a file under its own name.
                place = file.relative_to(source) if file != Path(source) else Path(file.name)
                (to / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, to / place)

    def _inside(self, text: str) -> str:
        """The same with each absolute path in the folder that stands for the root."""
        return re.sub(r"(?<![^\s=:])/(?=\w)", f"{self.root}/", text)
