"""Faults at random, drawn from a seed: what may break in a cluster, and is mended again."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.robots import Address, Fleet
from wood.model.instruments import PARTITION

LOST = 20
"""Batches that a fork takes off the end of the append-only file."""


class Chaos:
    """Strikes at nodes, Redis and connections; `log` is told of each fault with its time."""

    def __init__(
        self,
        cluster: Cluster,
        redis: RedisServer,
        fleet: Fleet,
        addresses: list[Address],
        random: Random,
        log: Callable[[str], None],
        *,
        forks: bool = False,
        partitions: Sequence[str] = (PARTITION,),
    ) -> None:
        self.faults: Counter[str] = Counter()
        self._cluster = cluster
        self._redis = redis
        self._fleet = fleet
        self._addresses = addresses
        self._random = random
        self._log = log
        self._forks = forks
        # Where they are, Redis cannot be asked when it is needed.
        self._journals = [cluster.of(name).journal for name in partitions]
        self._frozen: set[int] = set()
        self._dead: set[int] = set()
        self._begin = time.monotonic()

    def strike(self) -> None:
        """One fault, or the end of one."""
        random = self._random
        choices: list[tuple[int, Callable[[], None]]] = [(2, self._cut), (2, self._restart_redis)]
        choices.append((1, self._stall_redis))
        up = [n for n in range(len(self._addresses)) if n not in self._frozen | self._dead]
        if len(up) > 1:
            victim = random.choice(up)
            choices.append((4, lambda: self._kill(victim)))
            choices.append((4, lambda: self._freeze(victim)))
            choices.append((1, lambda: self._stop(victim)))
        if self._frozen:
            sleeper = random.choice(sorted(self._frozen))
            choices.append((5, lambda: self._thaw(sleeper)))
            choices.append((1, lambda: self._kill(sleeper)))
        if self._dead:
            gone = random.choice(sorted(self._dead))
            choices.append((6, lambda: self._start(gone)))
        weights = [weight for weight, _ in choices]
        random.choices([act for _, act in choices], weights)[0]()

    def heal(self) -> None:
        """End all faults."""
        for number in sorted(self._frozen):
            self._thaw(number)
        for number in sorted(self._dead):
            self._start(number)

    def _say(self, what: str, detail: str = "") -> None:
        self.faults[what] += 1
        self._log(f"{time.monotonic() - self._begin:7.2f} s  {what} {detail}".rstrip())

    def _kill(self, number: int) -> None:
        self._say("node killed", str(number))
        self._cluster.nodes[number].kill()
        self._frozen.discard(number)
        self._dead.add(number)

    def _stop(self, number: int) -> None:
        self._say("node stopped", str(number))
        assert self._cluster.nodes[number].stop() == 0
        self._dead.add(number)

    def _start(self, number: int) -> None:
        self._say("node started", str(number))
        node = self._cluster.nodes[number] = self._cluster.start()
        self._addresses[number] = node.host, node.private
        self._dead.remove(number)

    def _freeze(self, number: int) -> None:
        self._say("node frozen", str(number))
        self._cluster.nodes[number].process.send_signal(signal.SIGSTOP)
        self._frozen.add(number)

    def _thaw(self, number: int) -> None:
        self._say("node goes on", str(number))
        self._cluster.nodes[number].process.send_signal(signal.SIGCONT)
        self._frozen.remove(number)

    def _cut(self) -> None:
        count = len(self._fleet.robots)
        places = self._random.sample(range(count), max(1, count // 5))
        self._say("connections cut", " ".join(map(str, sorted(places))))
        self._fleet.drop(places)

    def _restart_redis(self) -> None:
        self._redis.kill()
        if self._forks and self._random.random() < 0.5:
            journals = self._journals
            if len(journals) > 1 and self._random.random() < 0.5:
                self._say("Redis killed, a partition loses its end")
                self._redis.lose(LOST, self._random.choice(journals))
            else:
                self._say("Redis killed, loses its end")
                self._redis.cut(LOST, *journals)
        else:
            self._say("Redis killed")
        self._redis.start()
        self._log(f"{time.monotonic() - self._begin:7.2f} s  Redis is back")

    def _stall_redis(self) -> None:
        self._say("Redis frozen")
        self._redis.freeze()
        signal.sigtimedwait([], self._random.uniform(0.1, 1.0))
        self._redis.thaw()
