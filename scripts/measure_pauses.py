"""How long a server with a million resting orders keeps anybody waiting.

Starts `wood -s`, lets 125 participants rest 8,000 orders each, and has another process ask a small
question again and again while something large is asked for. Prints the longest wait for each.

    .venv/bin/python scripts/measure_pauses.py
"""

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

PARTICIPANTS, EACH, PRICES = 125, 8000, 100_000
QUESTION = b'{"message":"cancelOrder","orderId":1}\n'


def main() -> None:
    with server() as (process, private, public):
        ask, answers = multiprocessing.Pipe()
        prober = multiprocessing.Process(target=probe, args=(private, answers))
        prober.start()
        before = resident(process.pid)

        def measure(what: str, act: Callable[[], None]) -> None:
            ask.send("begin")
            begin = time.perf_counter()
            act()
            elapsed = time.perf_counter() - begin
            ask.send("end")
            print(f"{what:45} {ask.recv() * 1000:8.1f} ms longest wait, {elapsed:6.2f} s in all")

        peers = [socket.create_connection(("127.0.0.1", private)) for _ in range(PARTICIPANTS)]
        measure("nothing", lambda: time.sleep(2))
        measure("filling the book with a million orders", lambda: fill(peers))
        grown = (resident(process.pid) - before) / 1e6
        print(f"the server has grown by {grown:.0f} MB")
        measure("a late subscriber gets 100,000 levels", lambda: subscribe(public))
        measure("orders: a list of 8,000", lambda: ask_for(peers[0], b'{"message":"orders"}\n'))
        taker = socket.create_connection(("127.0.0.1", private))
        order = b'{"message":"marketOrder","orderId":1,"side":"SELL","quantity":20000}\n'
        measure("a market order meets 10,000 orders", lambda: ask_for(taker, order, b"CANCELED"))
        everything = b'{"message":"cancelAll"}\n'
        measure("cancelAll of 8,000", lambda: ask_for(peers[1], everything, b"cancelAll"))
        ask.send("stop")
        prober.join()


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    command = [sys.executable, "-m", "wood", "-s", "--private", "0", "--public", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = (process.stderr.readline() for _ in range(2))
        private, public = (int(re.search(r":(\d+)$", line)[1]) for line in lines)  # type: ignore[index]
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield process, private, public
        finally:
            process.terminate()


def probe(port: int, control: Connection) -> None:
    """Ask from "begin" to "end", then send the longest wait in seconds."""
    peer = socket.create_connection(("127.0.0.1", port))
    while control.recv() == "begin":
        longest = 0.0
        while not control.poll():
            begin = time.perf_counter()
            peer.sendall(QUESTION)
            peer.recv(4096)
            longest = max(longest, time.perf_counter() - begin)
        control.recv()
        control.send(longest)


def fill(peers: list[socket.socket]) -> None:
    for place, peer in enumerate(peers):
        orders = [
            b'{"message":"createOrder","orderId":%d,"side":"BUY","price":%d.%02d,"quantity":1}\n'
            % (n, *divmod(1 + (n * PARTICIPANTS + place) * 7919 % PRICES, 100))
            for n in range(EACH)
        ]
        for start in range(0, EACH, 500):
            peer.sendall(b"".join(orders[start : start + 500]))
            read_lines(peer, 500)


def subscribe(port: int) -> None:
    peer = socket.create_connection(("127.0.0.1", port))
    read_lines(peer, PRICES)
    peer.close()


def ask_for(peer: socket.socket, question: bytes, end: bytes = b"}") -> None:
    peer.sendall(question)
    data = b""
    while end not in data[-200:] or not data.endswith(b"\n"):
        data += peer.recv(1 << 20)
    assert "error" not in json.loads(data.splitlines()[-1])


def read_lines(peer: socket.socket, count: int) -> None:
    while count > 0:
        count -= peer.recv(1 << 18).count(b"\n")


def resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
