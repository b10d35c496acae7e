"""What ends a cluster."""

from wood.model.errors import WoodError


class ClusterFailed(WoodError):
    """A part did not start, or is gone and takes the rest with it; the text is one line."""
