"""What holds for every process that a tool starts."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h: the signal that a process gets when its parent is gone."""


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module, by this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def dying_with_parent() -> Callable[[], None] | None:
    """What a child must do before it runs its program; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)

    return die_with_parent
