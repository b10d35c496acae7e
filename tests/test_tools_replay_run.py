"""The replay on a connection, to servers that misbehave or say exactly what the test wants."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec
import pytest

from wood.model.errors import WoodError
from wood.model.orders import BUY
from wood.tools.connection import ConnectionFailed
from wood.tools.errors import UnexpectedReply
from wood.tools.replay.lobster import BookRow, Kind, Message
from wood.tools.replay.orders import FENCE_ID
from wood.tools.replay.run import WINDOW, replay
from wood.tools.replay.translate import Translator

Asked = dict[str, Any]
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def message(order_id: int, kind: Kind = Kind.NEW, size: int = 100, seconds: float = 0) -> Message:
    return Message(seconds, kind, order_id, size, 1_000_000, BUY)


def report(order_id: int, report: str, **numbers: int) -> bytes:
    fields = {"message": "executionReport", "orderId": order_id, "report": report, **numbers}
    return msgspec.json.encode(fields) + b"\n"


def answer(line: bytes) -> bytes:
    """What a server says where nothing ever trades."""
    asked = msgspec.json.decode(line)
    if asked["orderId"] == FENCE_ID:
        return b'{"message":"error","error":"no","code":"not_found"}\n'
    if asked["message"] == "amendOrder":
        return report(asked["orderId"], "AMENDED", price=100, quantity=asked["quantity"])
    return report(asked["orderId"], "NEW" if asked["message"] == "createOrder" else "CANCELED")


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        writer.write(answer(line))


def run(
    server: Server,
    messages: Iterable[Message],
    translator: Translator | None = None,
    **options: Any,
) -> Translator:
    """Replay to `server` until either is done, or what the replay raises."""
    translator = translator or Translator()
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await server(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.close()
            gone.set()

    async def play() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            try:
                await replay("127.0.0.1", port, translator, messages, **options)
            finally:
                await gone.wait()

    asyncio.run(play())
    return translator


def test_everything_is_sent_and_every_answer_heard() -> None:
    count = 5 * WINDOW + 1
    translator = run(answer_all, [message(i) for i in range(count)])
    assert translator.tally.accepted == translator.tally.sent[Kind.NEW] == count
    assert not translator.orders.unanswered
    assert not translator.tally.refused
    assert translator.tally.elapsed > 0


def test_the_window_is_filled_and_never_passed() -> None:
    async def hold_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            lines = [await reader.readline() for _ in range(WINDOW)]
            writer.writelines(map(answer, lines))
        await answer_all(reader, writer)

    unanswered: list[int] = []
    translator = Translator()
    run(
        hold_back,
        [message(i) for i in range(3 * WINDOW)],
        translator,
        progress=lambda _: unanswered.append(len(translator.orders.unanswered)),
    )
    assert max(unanswered) == WINDOW


def test_a_partial_cancel_waits_for_fills_that_come_after_the_answers() -> None:
    amended: list[Asked] = []

    async def fill_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.readline()))
        await writer.drain()
        fence = await reader.readline()
        writer.write(report(5, "FILL", price=100, quantity=30))
        writer.write(answer(fence))
        line = await reader.readline()
        amended.append(msgspec.json.decode(line))
        writer.write(answer(line))
        await answer_all(reader, writer)

    run(fill_late, [message(5), message(5, Kind.PARTIAL_CANCEL, 20)])
    assert amended == [{"message": "amendOrder", "orderId": 5, "quantity": 50}]


def test_the_book_takes_the_place_of_the_first_message() -> None:
    asked: list[Asked] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            asked.append(msgspec.json.decode(line))
            writer.write(answer(line))

    row = BookRow(asks=[(1_010_000, 50)], bids=[(1_000_000, 100)])
    run(note, [message(5), message(6)], book=row)
    creates = [a for a in asked if a["message"] == "createOrder"]
    assert [(a["side"], a["price"], a["quantity"]) for a in creates] == [
        ("SELL", 101, 50),
        ("BUY", 100, 100),
        ("BUY", 100, 100),
    ]
    assert [a["orderId"] for a in creates[1:]] == [5, 6]


def test_answers_may_come_in_any_pieces() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            for byte in answer(line):
                writer.write(bytes([byte]))
                await writer.drain()

    assert run(dribble, [message(i) for i in range(20)]).tally.accepted == 20


def test_progress_is_told_up_to_the_end() -> None:
    told: list[int] = []
    run(answer_all, [message(i) for i in range(WINDOW + 5)], progress=told.append)
    assert told == sorted(told)
    assert told[-1] == WINDOW + 5


def test_without_a_speed_recorded_time_does_not_matter() -> None:
    assert run(answer_all, [message(1), message(2, seconds=86_400)]).tally.accepted == 2


def test_the_speed_is_times_the_recorded_one() -> None:
    messages = [message(1), message(2, seconds=1), message(3, seconds=2)]
    started = monotonic()
    translator = run(answer_all, messages, speed=10)
    assert translator.tally.accepted == 3
    assert 0.2 <= translator.tally.elapsed <= monotonic() - started < 2


def test_answers_are_heard_while_the_next_message_is_not_yet_due() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await reader.readline()))

    with pytest.raises(ConnectionFailed, match="closed the connection"):
        run(leave, [message(1), message(2, seconds=86_400)], speed=1)


@pytest.mark.parametrize("lines", [0, 1, 10])
def test_a_server_that_goes_away_is_an_error(lines: int) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(lines):
            writer.write(answer(await reader.readline()))

    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:\d+ closed the connection"):
        run(leave, [message(i) for i in range(10 * WINDOW)])


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"no server at 127.0.0.1:{port}"):
            asyncio.run(replay("127.0.0.1", port, Translator(), [message(1)]))


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request\r\n", b"[1]\n", b'{"orderId":"x"}\n'])
def test_a_server_of_another_kind_is_an_error(line: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(line)

    with pytest.raises(UnexpectedReply, match="cannot be read"):
        run(other, [message(1)])


def test_an_error_in_the_recording_ends_the_replay() -> None:
    def broken() -> Iterator[Message]:
        yield message(1)
        raise WoodError("day.csv:2: rubbish")

    with pytest.raises(WoodError, match="rubbish"):
        run(answer_all, broken())
