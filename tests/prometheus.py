"""The real Prometheus, and its promtool, with the configuration that ships."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from ruamel.yaml import YAML

from tests.support import PATIENCE, ROOT, clean_environment, eventually, free_port

FOLDER = ROOT / "deploy" / "prometheus"
BINARY, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")

needs_prometheus = pytest.mark.skipif(
    BINARY is None or PROMTOOL is None,
    reason="Prometheus is not installed (apt-get install prometheus)",
)


def promtool(*arguments: str | Path, said: bytes = b"") -> str:
    """What it answers; an `AssertionError` if it finds fault."""
    assert PROMTOOL is not None
    command = [PROMTOOL, *arguments]
    ended = subprocess.run(
        command, input=said, capture_output=True, timeout=PATIENCE, cwd=FOLDER, check=False
    )
    text = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, text
    return text


def page(port: int, path: str = "/metrics") -> str:
    """What a node's health port answers."""
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
        body: bytes = response.read()
    return body.decode()


class Prometheus:
    """A process that scrapes nodes every half second, by the rules that ship."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        self.port = free_port()
        yaml, config = YAML(typ="safe"), folder / "prometheus.yml"
        settings = yaml.load(FOLDER / "prometheus.yml")
        settings["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        (scrape,) = settings["scrape_configs"]
        scrape["static_configs"] = [{"targets": list(targets)}]
        settings["rule_files"] = [str(FOLDER / name) for name in settings["rule_files"]]
        yaml.dump(settings, config)
        assert BINARY is not None
        command = [
            *(BINARY, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env=clean_environment()
            )
        eventually(self._ready, "Prometheus")

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return page(self.port, "/-/ready") != ""
        except URLError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers; an `AssertionError` if it is not a success."""
        answer = json.loads(page(self.port, f"/api/v1/{path}?{urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What a query gives now, by the labels without their metric's name."""
        result = self.ask("query", query=query)["result"]
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k != "__name__")): float(
                each["value"][1]
            )
            for each in result
        }

    def value(self, query: str) -> float | None:
        """The one number that a query gives; None if there is none yet."""
        values = list(self.values(query).values())
        assert len(values) < 2, values
        return values[0] if values else None

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(PATIENCE)
