"""The units of deploy/systemd without systemd: what stands in them, and what a unit would run."""

import shlex
from pathlib import Path
from typing import NamedTuple

from tests.support import ROOT

FOLDER = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/wood/bin/wood"
VARIABLES = Path("/etc/wood")
"""Where the units look for their variables; `FOLDER/etc` has what is to be put there."""


class Setting(NamedTuple):
    """Such as `User=wood`, in a section."""

    section: str
    name: str
    value: str


class Unit:
    """A unit, or a drop-in of one; `instance` is what stands after the @ of a template."""

    def __init__(self, file: str, instance: str = "") -> None:
        self.file = file
        self.instance = instance
        section, self.settings = "", list[Setting]()
        for line in (FOLDER / file).read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            if line.startswith("["):
                section = line.strip("[]")
                continue
            assert not line.endswith("\\"), "no setting goes on in the next line"
            name, sign, value = line.partition("=")
            assert sign, line
            self.settings.append(Setting(section, name, value.replace("%i", instance)))

    def all(self, name: str) -> list[str]:
        """All values of a setting, in order."""
        return [each.value for each in self.settings if each.name == name]

    def only(self, name: str) -> str:
        """The value of a setting that there is once."""
        (value,) = self.all(name)
        return value

    def words(self) -> list[str]:
        """What `wood` is told on the command line."""
        program, *words = shlex.split(self.only("ExecStart"))
        assert program == PROGRAM
        return words

    def files(self) -> list[Path]:
        """What is shipped for the files of variables, in order."""
        # A minus: also where there is none.
        named = [Path(each.removeprefix("-")) for each in self.all("EnvironmentFile")]
        assert {each.parent for each in named} <= {VARIABLES}
        return [FOLDER / "etc" / each.name for each in named]

    def variables(self) -> dict[str, str]:
        """What these say: the later file counts."""
        return {key: value for file in self.files() for key, value in said(file).items()}


def said(file: Path, *, remarks: bool = False) -> dict[str, str]:
    """The variables of a file, as systemd reads it; with `remarks` those that are none yet."""
    found = {}
    for line in file.read_text().splitlines():
        if remarks and line.startswith("#WOOD_"):
            line = line[1:]
        if line and not line.startswith("#"):
            name, sign, value = line.partition("=")
            assert sign, line
            assert value == value.strip(" \"'"), "nothing that a shell would read otherwise"
            found[name] = value
    return found
