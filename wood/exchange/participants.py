"""Placeholder until the branch with the real one is merged."""

from pathlib import Path
from wood.model.participants import Participant


class ParticipantFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Participant]:
        return {}

    def changed(self) -> bool:
        return False
