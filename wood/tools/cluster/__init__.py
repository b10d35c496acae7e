"""`wood cluster`: Redis, nodes, a balancer and traders on one machine, kept running."""

from wood.tools.cluster.run import run_cluster
from wood.tools.cluster.settings import Settings

__all__ = ["Settings", "run_cluster"]
