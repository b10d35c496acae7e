"""A folder that is gone afterwards, even if this process is killed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from wood.tools.cluster.errors import ClusterFailed

LONGEST = 80
"""Bytes of its path, so that a socket's path in it fits: some systems stop at 104."""

_GUARD = 'trap "" INT TERM HUP; read -r _; /bin/rm -rf -- "$1"'
"""Its input ends when we do, however that comes about."""


@contextmanager
def passing_folder() -> Iterator[Path]:
    """An empty folder for this user only. Raises `ClusterFailed`."""
    folder = Path(mkdtemp(prefix="wood-cluster-"))
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "wood-cluster-guard", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    try:
        if len(str(folder).encode()) > LONGEST:
            raise ClusterFailed(f"{folder.parent} is too long a path for sockets: set TMPDIR")
        yield folder
    finally:
        guard.communicate()
        shutil.rmtree(folder, ignore_errors=True)  # if someone ended the guard
