"""What the garbage collector need not look at: a million orders must not stop the market."""

import gc

from tests.engines import INSTRUMENTS, run, with_loop
from wood.cli.serve import _spare_the_collector
from wood.exchange.memory import MemoryExchange
from wood.model.commands import Command, NewOrder
from wood.model.orders import BUY, SELL


def test_orders_levels_commands_and_events_are_not_tracked() -> None:
    async def test() -> None:
        exchange = MemoryExchange(INSTRUMENTS)
        commands: list[Command] = [
            NewOrder("A", "A", 0, "WOOD", n, BUY, 100 + n % 5, 2) for n in range(20)
        ]
        commands.append(NewOrder("B", "B", 0, "WOOD", 1, SELL, 100, 7))
        events = await run(exchange, commands)
        book = exchange.books["WOOD"]
        orders = list(book.orders["A"].values())
        levels = list(book.bids.in_order())
        for thing in (*commands, *events, *orders, *levels, *[b async for b in exchange.events(0)]):
            assert not gc.is_tracked(thing), type(thing)
        assert not gc.is_tracked(book.orders["A"]), "nor is what holds a million of them"
        assert not gc.is_tracked(book.bids.levels)

    with_loop(test)


def test_an_order_that_is_gone_is_freed_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        exchange = MemoryExchange(INSTRUMENTS)
        book = exchange.books["WOOD"]
        for n in range(100):
            book.execute(NewOrder("A", "A", 0, "WOOD", n, BUY, 100, 2), 0, [])
        freed = [book.orders["A"][n] for n in (0, 50, 99)]
        book.execute(NewOrder("B", "B", 0, "WOOD", 1, SELL, 100, 200), 0, [])
        assert all(order.next is None and order.previous is None for order in freed)
        assert len(gc.get_objects()) - before < 500
    finally:
        gc.enable()


def test_what_lives_as_long_as_the_process_is_frozen() -> None:
    gc.unfreeze()
    _spare_the_collector()
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
