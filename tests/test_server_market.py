"""What the public sees while a market is busy, whenever somebody begins to look."""

import json
import random
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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
        both = range(min(len(told), len(lines)))
        same = next((n for n in both if told[-1 - n] != lines[-1 - n]), len(both))
        fitting = (
            at
            for size in range(len(told) - same, min(len(told), 200))
            if told[:size] == snapshot_lines(fold(lines[: (at := len(lines) - len(told) + size)]))
        )
        moment = next(fitting, None)
        assert moment is not None
        moments.add(moment)
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


def subscribe(**more: object) -> dict[str, object]:
    return {"message": "subscribe", "symbols": ["WOOD"], **more}


def until_snapshot(watcher: Peer, *, begun: bool = False) -> Lines:
    """From the reply to `subscribe`, which may follow older lines, to the end of the book."""
    lines: Lines = []
    while not lines or lines[-1]["type"] != "snapshot":
        lines.append(watcher.message())
    if begun:
        return lines
    start = next(n for n, line in enumerate(lines) if line["type"] == "subscribed")
    return lines[start:]


def test_who_resumes_sees_every_trade_once(server: Server) -> None:
    """Wherever it was, and while the market goes on: first what it missed, then the book, then
    live, with no gap and no repeat; and one with a depth sees the best levels of that book.
    """
    draw = random.Random(7)
    resumed: list[tuple[Peer, int, int | None]] = []
    with server.watcher() as first:
        first.send(subscribe())
        (*_, snapshot) = until_snapshot(first)
        with busy_market(server, traders=3):
            lines: Lines = []
            for number in range(12):
                lines += first.messages(200)
                last = draw.choice(lines)["seq"] if number else 0
                epoch = {"epoch": snapshot["epoch"]} if number % 2 else {}
                depth = [None, 1, 5][number % 3]
                resumed.append((server.watcher(), last, depth))
                resumed[-1][0].send(subscribe(lastSeq=last, depth=depth, **epoch))
        lines += read_all(first)
    trades = [line for line in lines if line["type"] == "trade"]
    assert all(line["trade"] == line["seq"] for line in trades)
    for watcher, last, depth in resumed:
        told = read_all_of(watcher)
        watcher.socket.close()
        start = next(n for n, line in enumerate(told) if line["type"] == "subscribed")
        end = next(n for n, line in enumerate(told) if line["type"] == "snapshot")
        assert told[start]["recovered"] is True
        assert told[start].get("depth") == depth
        at = told[end]["seq"]
        assert [line for line in told[start:] if line["type"] == "trade"] == [
            line for line in trades if line["seq"] > last
        ]
        missed = [line for line in trades if last < line["seq"] <= at]
        assert told[start + 1 : start + 1 + len(missed)] == missed
        book = fold([line for line in lines if line["seq"] <= at])
        assert fold(told[start:end]) == best(book, depth)
        assert fold(told[start:]) == best(fold(lines), depth)


def best(book: dict[tuple[str, float], float], depth: int | None) -> dict[tuple[str, float], float]:
    """The best levels of each side."""
    bids = sorted((key for key in book if key[0] == "bid"), key=lambda key: -key[1])
    asks = sorted((key for key in book if key[0] == "ask"), key=lambda key: key[1])
    return {key: book[key] for key in bids[:depth] + asks[:depth]}


def read_all_of(watcher: Peer) -> Lines:
    """Everything that it was told until now: who sees only the best levels may not see the end."""
    watcher.send({"message": "subscribe", "symbols": ["NIL"]})
    lines: Lines = []
    while not lines or lines[-1]["type"] != "error":
        lines.append(watcher.message())
    assert lines.pop()["code"] == "unknown_symbol"
    return lines


def test_a_slow_reader_of_the_past_costs_no_memory_and_gets_all_of_it(server: Server) -> None:
    count = 12_000
    with server.trader() as trader, server.watcher() as other:
        for start in range(0, count, 500):
            for number in range(start, start + 500):
                trader.send(create(number, "BUY", 5, 1), create(number + count, "SELL", 5, 1))
            trader.messages(2000)
        assert other.ask(QUESTION)  # whatever it is told, the server is idle
        before = server.memory()
        slow = [server.watcher(receive_buffer=4096) for _ in range(20)]
        for watcher in slow:
            watcher.send(subscribe(lastSeq=0))
            assert watcher.message()["recovered"] is True
        assert trader.ask(create(1, "BUY", 4, END))["report"] == "NEW"
        assert server.memory() - before < 60_000_000
        for watcher in slow[:3]:
            lines = until_snapshot(watcher, begun=True)
            trades = [line["seq"] for line in lines if line["type"] == "trade"]
            assert trades == sorted(set(trades))
            assert len(trades) == count
        for watcher in slow:
            watcher.socket.close()


def test_recovery_is_said_only_if_it_is_proven(start_server: Callable[..., Server]) -> None:
    server = start_server()
    with server.trader() as trader, server.watcher() as watcher:
        for number in (1, 2):
            trader.send(create(number, "BUY", 5, 1), create(number + 2, "SELL", 5, 1))
            trader.messages(4)
        watcher.send(subscribe())
        at = until_snapshot(watcher)[-1]
        known = {"lastSeq": at["seq"], "epoch": at["epoch"]}

        def answer(**asked: object) -> list[object]:
            watcher.send(subscribe(**asked))
            reply, *trades, end = until_snapshot(watcher)
            assert end == at
            return [reply["recovered"], *(line["seq"] for line in trades)]

        assert answer(**known) == [True]
        assert answer(lastSeq=0, epoch=at["epoch"]) == [True, 4, 10]
        assert answer(lastSeq=4) == [True, 10]
        assert answer(lastSeq=at["seq"] + 1) == [False]
        assert answer(lastSeq=4, epoch=at["epoch"] - 1) == [False]
        assert answer(lastSeq=4, epoch=2**53 - 1) == [False]
        for wrong in ({"depth": 0}, {"depth": 10_001}, {"lastSeq": -1}, {"epoch": 2**53}):
            refused = watcher.ask(subscribe(**{"lastSeq": 1} | wrong))
            assert refused["code"] == "invalid"
            assert refused["error"].startswith(f"{next(iter(wrong))} must be from ")
    assert server.stop() == 0
    again = start_server("--public", str(server.public))
    with again.watcher() as watcher, again.trader() as trader:
        for number in range(10):
            assert trader.ask(create(number, "BUY", 5, 1))["report"] == "NEW"
        watcher.send(subscribe(**known))
        reply, _, end = until_snapshot(watcher)
        assert reply["recovered"] is False, "another history"
        assert end["epoch"] != at["epoch"]
