"""What hostile clients cost another one: its 99th percentile with and without them, in turns.

    python scripts/measure_hostile.py            # all attacks
    python scripts/measure_hostile.py flood      # one of them

For each attack a server is started, and one client asks from an address of its own, question after
question. Attackers, in a process of their own, act in every second slice of time; so both columns
are of the same minutes on the same machine. The ratio of the two is what counts.
"""

import argparse
import multiprocessing as mp
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.hostile import From
from tests.support import Peer, Server, create
from tests.tls import Office, secure

SLICE = 1.0
"""Seconds of calm, and then of attack."""

PAUSE = 0.003
"""Seconds between an answer and the next question."""

LIMITS = ("--max-address-rate", "1000", "--max-address-connections", "100")
"""What an operator would set who is open to strangers."""

Attack = Callable[[Server, Event], None]


def silent(server: Server, on: Event) -> None:
    """Ten thousand connections to the private port."""
    with ExitStack() as stack:
        for _ in range(10_000):
            stack.enter_context(server.trader())
        while on.is_set():
            time.sleep(0.1)


def listeners(server: Server, on: Event) -> None:
    """Ten thousand to the public port, one after the other again and again if they are closed."""
    with ExitStack() as stack:
        for _ in range(10_000):
            stack.enter_context(server.watcher())
        while on.is_set():
            time.sleep(0.1)


def flood(server: Server, on: Event) -> None:
    """Eight connections that say bad lines as fast as they are taken, and read the answers."""
    with ExitStack() as stack:
        kinds = [server.trader, server.watcher] * 4
        peers = [stack.enter_context(kind()) for kind in kinds]
        _shout(peers, on, b"{nonsense\n" * 3000)


def tiny(server: Server, on: Event) -> None:
    """Four connections that say maps of one byte, and four that say lines of two."""
    with ExitStack() as stack:
        packed = [stack.enter_context(server.trader()) for _ in range(4)]
        lines = [stack.enter_context(server.watcher()) for _ in range(4)]
        while on.is_set():
            _say(packed, b"\x80" * 30_000)
            _say(lines, b"x\n" * 15_000)
            time.sleep(0.001)


def orders(server: Server, on: Event) -> None:
    """One participant at its limits: eight connections that send orders without end."""
    line = b'{"message":"createOrder","orderId":1,"side":"BUY","price":5,"quantity":1}\n'
    with ExitStack() as stack:
        peers = [stack.enter_context(server.trader()) for _ in range(8)]
        for peer in peers:
            peer.send({"message": "login", "participant": "greedy"})
            peer.message()
        _shout(peers, on, line * 500)


def guesses(server: Server, on: Event) -> None:
    """Twenty connections that guess a token, again as soon as they are answered."""
    guess = b'{"message":"login","participant":"alice","token":"guess"}\n'
    with ExitStack() as stack:
        _shout([stack.enter_context(server.trader()) for _ in range(20)], on, guess * 10)


def _shout(peers: Sequence[Peer], on: Event, said: bytes) -> None:
    while on.is_set():
        _say(peers, said)
        time.sleep(0.001)


def _say(peers: Sequence[Peer], said: bytes) -> None:
    """As much of it as is taken at once; read what there is to read."""
    for peer in peers:
        peer.socket.setblocking(False)
        with suppress(OSError):
            peer.socket.send(said)
        with suppress(OSError):
            peer.socket.recv(1 << 20)


def deaf(server: Server, on: Event) -> None:
    """Eight connections that ask and never read; closed ones come again."""
    lines = b'{"message":"instruments"}\n' * 200 + b'{"message":"cancelAll"}\n' * 2000
    peers: list[Peer] = []
    while on.is_set():
        while len(peers) < 8:
            kind = server.trader if len(peers) % 2 else server.watcher
            peers.append(kind(receive_buffer=4096))
            peers[-1].socket.setblocking(False)
        for peer in list(peers):
            try:
                peer.socket.send(lines)
            except BlockingIOError:
                pass
            except OSError:
                peers.remove(peer)
        time.sleep(0.001)
    for peer in peers:
        peer.socket.close()


def comers(server: Server, on: Event) -> None:
    """Connections that are opened and closed, a thousand a second."""
    while on.is_set():
        begin = time.monotonic()
        for _ in range(10):
            server.trader().socket.close()
        time.sleep(max(0.0, begin + 0.01 - time.monotonic()))


def handshakes(server: Server, on: Event) -> None:
    """Handshakes of TLS begun and not finished, two hundred a second."""
    hello = _hello()
    while on.is_set():
        begin = time.monotonic()
        with suppress(OSError), server.trader() as peer:
            peer.send(hello)
            peer.socket.recv(1)
        time.sleep(max(0.0, begin + 0.005 - time.monotonic()))


def _hello() -> bytes:
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl._create_unverified_context().wrap_bio(into, out)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "silent": (silent, ("--max-address-connections", "20000")),
    "listeners": (listeners, LIMITS),
    "flood": (flood, LIMITS),
    "flood, no limits": (flood, ()),
    "tiny, no limits": (tiny, ()),
    "deaf": (deaf, LIMITS),
    "guesses": (guesses, LIMITS),
    "comers": (comers, LIMITS),
    "handshakes": (handshakes, LIMITS),
    "orders": (orders, ("--max-participant-rate", "1500")),
}

SETTLING: dict[Attack, float] = {silent: 10.0, listeners: 6.0}
"""Seconds that it takes until all attackers are there, or are gone."""


def measure(name: str, rounds: int) -> None:
    attack, options = ATTACKS[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        office = Office(Path(folder))
        if attack is handshakes:
            options = (*options, *office.options)
        server = Server(Path(folder), *options)
        stack.callback(server.stop)
        on = mp.Event()
        attacker = mp.Process(target=_attack, args=(attack, server, on), daemon=True)
        victim: Peer = From("127.0.0.2", server.private)
        if attack is handshakes:
            victim = secure(victim, office.context())
        stack.enter_context(victim)
        ask(victim, 0.5)
        before, most = server.memory(), 0
        attacker.start()
        stack.callback(attacker.terminate)
        calm: list[float] = []
        hostile: list[float] = []
        settling = SETTLING.get(attack, 0.3)
        for _ in range(rounds):
            calm += ask(victim, SLICE)
            on.set()
            ask(victim, settling)
            hostile += ask(victim, SLICE)
            most = max(most, server.memory() - before)
            on.clear()
            ask(victim, settling)
        quiet, loud = p99(calm), p99(hostile)
        print(
            f"{name:18} {quiet * 1e3:8.2f} ms {loud * 1e3:8.2f} ms {loud / quiet:6.2f} "
            f"{most / 1e6:8.1f} MB {len(server.text()) / 1e3:8.1f} kB",
            flush=True,
        )


def _attack(attack: Attack, server: Server, on: Event) -> None:
    # On machines of their own they would take no time from the server and the client.
    os.nice(19)
    with suppress(KeyboardInterrupt):
        while True:
            on.wait()
            attack(server, on)


def ask(peer: Peer, seconds: float) -> list[float]:
    """Ask for so long; how long each answer took."""
    found = []
    end = time.monotonic() + seconds
    number = 0
    while (begin := time.monotonic()) < end:
        number += 1
        peer.ask(create(number, "BUY", 5, 1), {"message": "cancelOrder", "orderId": number})
        peer.message()
        found.append(time.monotonic() - begin)
        time.sleep(PAUSE)
    return found


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("attack", nargs="?", choices=ATTACKS, help="only this one")
    parser.add_argument("--rounds", type=int, default=10, help="slices of attack, of a second each")
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(
        f"{'attack':18} {'calm p99':>11} {'under it':>11} {'ratio':>6} {'memory':>11} {'log':>11}"
    )
    for name in [chosen.attack] if chosen.attack else ATTACKS:
        measure(name, chosen.rounds)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    socket.setdefaulttimeout(20)
    main()
