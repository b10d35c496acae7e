"""What was heard and not yet read."""

import asyncio

import pytest

from wood.client.inbox import Inbox


def test_in_order_and_full_at_the_limit() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox(limit=3)
        inbox.put([1, 2])
        before = inbox.full
        inbox.put([3, 4])
        assert (before, inbox.full) == (False, True)
        room = asyncio.create_task(inbox.room())
        assert [await inbox.get() for _ in range(2)] == [1, 2]
        await room
        assert not inbox.full

    asyncio.run(play())


def test_a_reader_waits_and_may_be_cancelled() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox()
        first = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        first.cancel()
        inbox.put([1])
        assert await inbox.get() == 1

    asyncio.run(play())


def test_unlimited_for_a_while() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox(limit=1)
        inbox.put([1, 2])
        room = asyncio.create_task(inbox.room())
        await asyncio.sleep(0)
        assert not room.done()
        with inbox.unlimited(), inbox.unlimited():
            await room
            inbox.put([3])
            full_inside = inbox.full
        assert (full_inside, inbox.full) == (False, True)

    asyncio.run(play())


def test_the_end_comes_after_everything() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox()
        inbox.put([1])
        inbox.end(None)
        inbox.end(ValueError())
        assert await inbox.get() == 1
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await inbox.get()

    asyncio.run(play())


def test_an_error_is_told_to_who_waits_and_to_who_comes_later() -> None:
    async def play() -> None:
        inbox: Inbox[int] = Inbox()
        waiting = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.end(KeyError("why"))
        for task in (waiting, inbox.get()):
            with pytest.raises(KeyError, match="why"):
                await task

    asyncio.run(play())
