"""File descriptors: as many as the system lets the process have."""

import resource

RESERVE = 64
"""Descriptors kept for what is no connection: listeners, logs, the event loop's own."""


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one; return the connections that it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Without a hard limit there is still the kernel's own, which is refused if passed.
    wanted = max(soft, 1 << 16) if hard == resource.RLIM_INFINITY else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # some systems have a lower limit that they do not tell
        wanted = soft
    return max(wanted - RESERVE, 1)
