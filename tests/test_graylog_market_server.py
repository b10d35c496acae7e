"""A single server that tells Graylog its market, as a process."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.gelf_receiver import GelfReceiver, needs_gelf
from tests.market_told import told_in
from tests.support import Peer, Server, create, eventually, free_port

StartServer = Callable[..., Server]
StartGelf = Callable[..., GelfReceiver]

pytestmark = needs_gelf


def trade(trader: Peer, first: int, count: int) -> None:
    """So many trades, with orders of these ids and the next ones."""
    for order_id in range(first, first + count):
        sides = ("SELL", "BUY")
        trader.send(*(create(2 * order_id + n, s, 100, 1) for n, s in enumerate(sides)))
        trader.messages(4)


def takers(messages: list[dict[str, Any]]) -> list[int]:
    """Whose orders came in and traded, each once, in the order of the numbers."""
    trades = told_in(messages)
    return [trades[place]["_order_id"] for place in sorted(trades)]


def test_every_trade_arrives_also_the_last_ones(
    start_gelf: StartGelf, start_server: StartServer
) -> None:
    receiver = start_gelf()
    server = start_server("--graylog", receiver.url(), "--name", "alone")
    with server.trader() as trader:
        trade(trader, 1, 300)
    assert server.stop() == 0
    messages = receiver.messages()
    assert takers(messages) == [2 * n + 1 for n in range(1, 301)]
    [first, *_] = [m for m in messages if m["_event"] == "trade.executed"]
    assert (first["host"], first["_log"], first["_partition"]) == ("alone", "market", "main")
    assert not [m for m in messages if m["_event"] == "order.accepted"]


def test_graylog_and_what_sends_to_it_may_die(
    start_gelf: StartGelf, start_server: StartServer
) -> None:
    receiver = start_gelf()
    health = free_port()
    server = start_server("--graylog", receiver.url(), "--health", str(health))

    def behind() -> int:
        with urlopen(f"http://127.0.0.1:{health}/status") as answer:
            events: int = json.load(answer)["readers"]["graylog"]
            return events

    with server.trader() as trader:
        trade(trader, 1, 10)
        eventually(lambda: len(takers(receiver.messages())) == 10, "the first ones")
        eventually(lambda: behind() == 0, "nothing behind")
        receiver.kill()
        trade(trader, 11, 10)
        eventually(lambda: behind() > 0, "something behind")
        eventually(lambda: "is away" in server.text(), "a word of it")
        os.kill(sender_of(server), signal.SIGKILL)
        trade(trader, 21, 10)
        receiver.start()
        eventually(lambda: len(takers(receiver.messages())) == 30, "all of them")
        eventually(lambda: behind() == 0, "nothing behind")


def test_what_does_not_fit_into_memory_meanwhile_is_said(
    start_gelf: StartGelf, start_server: StartServer
) -> None:
    receiver = start_gelf()
    server = start_server("--graylog", receiver.url(), "--journal", "200")
    receiver.kill()
    with server.trader() as trader:
        trade(trader, 1, 1)
        eventually(lambda: "is away" in server.text(), "a word of it")
        trade(trader, 2, 2000)
        receiver.start()
        eventually(lambda: 2 * 2001 + 1 in takers(receiver.messages()), "the last one")
    messages = receiver.messages()
    [skipped] = [m for m in messages if m["_event"] == "market.skipped"]
    hole = range(skipped["_seq"] + 1, skipped["_seq"] + 1 + skipped["_count"])
    told = {seq for _, _, seq in told_in(messages)}
    every = set(
        range(min(told), max(told) + 1, 6)
    )  # two orders, a trade of two numbers, two levels
    assert told == every - set(hole)
    assert every & set(hole)


def sender_of(server: Server) -> int:
    """The process that sends the market of a server."""
    parent = server.process.pid
    for file in Path("/proc").glob("[0-9]*/stat"):
        fields = file.read_text().rpartition(")")[2].split()
        command = (file.parent / "cmdline").read_bytes()
        if int(fields[1]) == parent and b"wood.graylog.market_sender" in command:
            return int(file.parent.name)
    raise AssertionError("nobody sends the market")
