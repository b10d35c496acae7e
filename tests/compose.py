"""The compose file as Docker Compose reads it, without Docker."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from ruamel.yaml import YAML

from tests.docker import environment, only
from tests.support import ROOT, clean_environment
from wood.cli.main import wood

Service = dict[str, Any]

FILE = ROOT / "deploy" / "docker-compose.yml"
PASSWORD = "0123abcd"
PROFILE = "monitoring"
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?P<how>:\?|:-)(?P<word>[^}]*)\}")


def compose(**variables: str) -> dict[str, Any]:
    """What it says to whoever has these variables.

    Raises `KeyError` as Compose ends, without one that has to be there. Compose looks for all of
    them, also for those of services that nobody asks for.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        known = variables.get(found["name"], "")
        if not known and found["how"] == ":?":
            raise KeyError(found["name"])
        return known or found["word"]

    def filled(part: Any) -> Any:
        """In values only, after the file was read: an empty variable is an empty text."""
        if isinstance(part, dict):
            return {key: filled(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return VARIABLE.sub(value, part) if isinstance(part, str) else part

    read: dict[str, Any] = filled(YAML(typ="safe").load(FILE.read_text()))
    return read


COMPOSE = compose(WOOD_REDIS_PASSWORD=PASSWORD)
ALL: dict[str, Service] = COMPOSE["services"]
SERVICES = {name: each for name, each in ALL.items() if "profiles" not in each}
WATCHING = {name: each for name, each in ALL.items() if each.get("profiles") == [PROFILE]}
NODES = {name: each for name, each in SERVICES.items() if "build" in each}
HAPROXY, REDIS = SERVICES["haproxy"], SERVICES["redis"]


def address(service: Service) -> str:
    """Its fixed one, on the network of HAProxy and the nodes."""
    found: str = service["networks"]["front"]["ipv4_address"]
    return found


def options(service: Service) -> dict[str, Any]:
    """What the command line makes of a node's command and environment."""
    variables = clean_environment(**environment() | service["environment"])
    words = only("ENTRYPOINT").argv()[1:] + service["command"]
    with mock.patch.dict(os.environ, variables, clear=True):
        return wood.make_context("wood", words).params


def schema_says(file: Path) -> subprocess.CompletedProcess[str]:
    """Whether it is a compose file by the specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
