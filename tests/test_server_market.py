"""What the public sees while a market is busy, whenever somebody begins to look."""

import json
import random
import select
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from tests.support import PATIENCE, Peer, Server, create
from tests.test_server_clients import ALL

Lines = list[dict[str, Any]]
QUESTION = {"message": "instruments"}
END = 123456
"""The quantity of the last order of all, by which the public knows the end."""


def trade(server: Server, seed: int, stop: threading.Event, filled: Counter[str]) -> None:
    """One participant's random orders, ten at a time, until `stop`; counts what its reports say."""
    draw = random.Random(seed)
    side_of = {}
    with server.trader() as peer:
        for start in count(0, 10):
            if stop.is_set():
                break
            batch: list[object] = []
            for number in range(start, start + 10):
                if draw.random() < 0.3 and number:
                    order_id = draw.randrange(number)
                    batch.append({"message": "cancelOrder", "orderId": order_id})
                else:
                    side_of[number] = draw.choice(["BUY", "SELL"])
                    price = round(draw.gauss(100, 0.05), 2)
                    batch.append(create(number, side_of[number], price, draw.randrange(1, 50)))
            peer.send(*batch, QUESTION)
            while (report := peer.message())["message"] != "instruments":
                if report.get("report") == "FILL":
                    filled[side_of[report["orderId"]]] += report["quantity"]
    # Fills of what still rests may come after this; the public alone counts them.


@contextmanager
def busy_market(server: Server, traders: int) -> Iterator[Counter[str]]:
    """Traders who trade while the body runs; all are done when it is left."""
    filled, stop = [Counter[str]() for _ in range(traders)], threading.Event()
    threads = [
        threading.Thread(target=trade, args=(server, seed, stop, filled[seed]))
        for seed in range(traders)
    ]
    for thread in threads:
        thread.start()
    total: Counter[str] = Counter()
    try:
        yield total
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    total.update(sum(filled, Counter[str]()))
    with server.trader() as peer:
        peer.ask(create(1, "BUY", 1, END))


def read_all(watcher: Peer) -> Lines:
    """Everything up to the last order of all."""
    lines: Lines = []
    while not lines or lines[-1].get("quantity") != END:
        line = watcher.line()
        assert line, "the watcher was closed"
        lines.append(json.loads(line))
    return lines


def fold(lines: Lines) -> dict[tuple[str, float], float]:
    """The book that lines add up to."""
    book = {}
    for line in lines:
        if line["type"] == "orderbook":
            book[line["side"], line["price"]] = line["quantity"]
    return {key: total for key, total in book.items() if total}


def snapshot_lines(book: dict[tuple[str, float], float]) -> Lines:
    """A book as a late client is told it."""
    bids = sorted((key for key in book if key[0] == "bid"), key=lambda key: -key[1])
    asks = sorted((key for key in book if key[0] == "ask"), key=lambda key: key[1])
    return [
        {"type": "orderbook", "side": side, "price": price, "quantity": book[side, price]}
        for side, price in bids + asks
    ]


def test_late_watchers_see_no_gap_and_no_repeat(server: Server, full: bool) -> None:
    """What a late one is told is the book at some moment, and exactly what the first one saw
    after that moment.
    """
    late: list[Peer] = []
    with server.watcher() as first:
        with busy_market(server, traders=4):
            lines: Lines = []
            for _ in range(100 if full else 20):
                lines += [json.loads(line) for line in first.lines(300)]
                late.append(server.watcher())
                select.select([late[-1].socket], [], [], PATIENCE)  # it has its book
        lines += read_all(first)
    moments: set[int] = set()
    for watcher in late:
        told = read_all(watcher)
        watcher.socket.close()
        # The book is `size` lines long; what follows is all that the first one saw after `at`.
        fitting = [
            at
            for size in range(min(len(told), 200))
            if (at := len(lines) - len(told) + size) >= 0
            and told[:size] == snapshot_lines(fold(lines[:at]))
            and told[size:] == lines[at:]
        ]
        assert fitting
        moments.add(fitting[0])
    assert len(moments) > 5, "they came at different moments"


def test_a_late_subscriber_knows_the_numbers_of_what_it_sees(server: Server) -> None:
    subscribers: list[Peer] = []
    with server.watcher() as first:
        first.send({"message": "subscribe", "symbols": ["WOOD"]})
        with busy_market(server, traders=3):
            lines: Lines = []
            for _ in range(10):
                lines += [json.loads(line) for line in first.lines(100)]
                subscribers.append(server.watcher())
                subscribers[-1].send({"message": "subscribe", "symbols": ["WOOD"]})
        lines += read_all(first)
    for subscriber in subscribers:
        told = read_all(subscriber)
        subscriber.socket.close()
        start = next(n for n, line in enumerate(told) if line["type"] == "subscribed")
        end = next(n for n, line in enumerate(told) if line["type"] == "snapshot")
        seq = told[end]["seq"]
        assert told[end + 1 :] == [line for line in lines if line.get("seq", 0) > seq]
        assert {line["seq"] for line in told[start + 1 : end]} <= {seq}
        book = fold([line for line in lines if line.get("seq", 0) <= seq])
        assert fold(told[start:end]) == book


def test_nothing_is_bought_that_was_not_sold(server: Server) -> None:
    """The public's trades add up to the participants' fills, and the book to what is left."""
    with server.watcher() as watcher:
        with busy_market(server, traders=4) as filled:
            lines = [json.loads(line) for line in watcher.lines(5000)]
        lines += read_all(watcher)
    traded = sum(line["quantity"] for line in lines if line["type"] == "trade")
    assert traded > 0
    assert filled["BUY"] <= traded
    assert filled["SELL"] <= traded
    times = [line["time"] for line in lines if line["type"] == "trade"]
    assert times == sorted(times)
    book = fold(lines)
    with server.watcher() as late:
        assert [json.loads(line) for line in late.lines(len(book))] == snapshot_lines(book)


def test_reports_and_errors_keep_the_order_of_the_questions(server: Server) -> None:
    draw = random.Random(5)
    with server.trader() as peer:
        asked: list[object] = []
        for number in range(2000):
            kind = draw.randrange(4)
            if kind == 0:
                asked.append(create(number, "BUY", 5, 1))
            elif kind == 1:
                asked.append({"message": "cancelOrder", "orderId": number + 10**6})
            elif kind == 2:
                asked.append(create(number, "BUY", 0, 1))
            else:
                asked.append({"message": "cancelOrder", "orderId": number, "symbol": "PLUM"})
        peer.send(*asked)
        for message, answer in zip(asked, peer.messages(2000), strict=True):
            assert answer["orderId"] == message["orderId"]  # type: ignore[index]
        assert peer.ask(ALL)["report"] == "CANCELED"
