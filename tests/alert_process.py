"""`wood alert` as a process, which is soon alarmed and soon calm again."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import PATIENCE, ROOT, clean_environment, eventually

SOON = (
    *("--interval", "0.1", "--calm", "0.3", "--redis-away", "0.5", "--node-silent", "1"),
    *("--stalled", "1", "--behind-seconds", "0.5"),
)


class AlertProcess:
    """Its log says what it raised and ended."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.log = folder / "alert.log"
        command = [sys.executable, "-m", "wood", "alert", *SOON, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stderr=log, cwd=ROOT, env=clean_environment(**environment)
            )
        eventually(lambda: "alerts are told to" in self.text() or self.ended(), "its first line")

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text()

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def told(self, what: str = "RAISED|STILL|ENDED") -> list[str]:
        """The titles of what was told so far, such as `RAISED node-lost n1`."""
        return re.findall(rf"(?:ERROR|WARNING) ((?:{what}) [\w-]+ [^:]*(?::\d+)?): ", self.text())

    def tells(self, *titles: str) -> None:
        """Wait until all of these were told."""
        for title in titles:
            eventually(lambda title=title: title in self.told(), title)  # type: ignore[misc]

    def freeze(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end; the exit code."""
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
            self.thaw()
        return self.process.wait(PATIENCE)
