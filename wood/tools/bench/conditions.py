"""Under what a figure was measured: without it the figure means nothing."""

import os
import platform
from importlib.metadata import version

from msgspec import Struct


class Conditions(Struct, frozen=True, kw_only=True):
    """The machine and the versions; `load` is the average of the last minute, before the run."""

    python: str
    uvloop: str
    platform: str
    cores: int
    load: float

    def __str__(self) -> str:
        return (
            f"Python {self.python}, uvloop {self.uvloop}, {self.platform}, "
            f"{self.cores} cores, load {self.load:.2f}"
        )


def conditions() -> Conditions:
    """Those of this process, now."""
    return Conditions(
        python=platform.python_version(),
        uvloop=version("uvloop"),
        platform=f"{platform.system()} {platform.machine()}",
        cores=_cores(),
        load=round(os.getloadavg()[0], 2),
    )


def _cores() -> int:
    """The processors that this process may use, which in a container can be few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
