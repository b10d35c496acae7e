"""The watch tool: feed, market and drawing by unit tests, the rest against a real server."""

import asyncio
import fcntl
import io
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from tests.support import (
    PATIENCE,
    ROOT,
    Server,
    clean_environment,
    eventually,
    run_wood,
    run_wood_here,
)
from wood.tools.watch import display
from wood.tools.watch.feed import (
    MAX_LINE,
    Feed,
    FeedError,
    Level,
    Message,
    SnapshotEnd,
    StateTold,
    Subscribed,
    Trade,
)
from wood.tools.watch.ladder import ladder
from wood.tools.watch.market import Book, Market
from wood.tools.watch.numbers import prices, quantity
from wood.tools.watch.plain import plain_line
from wood.tools.watch.screen import Screen
from wood.tools.watch.tape import tape

LEVEL = b'{"type":"orderbook","side":"bid","price":145,"quantity":300}\n'
TRADE = b'{"type":"trade","time":1461763950.458236,"price":145.25,"quantity":100}\n'
SUBSCRIBED = b'{"type":"subscribed","symbols":["TEA"],"encoding":"json"}\n'
FRESH = b'{"type":"orderbook","symbol":"TEA","seq":7,"side":"ask","price":3,"quantity":5}\n'
SNAPSHOT = b'{"type":"snapshot","seq":7}\n'


def level(side: str, price: str, total: str) -> Level:
    assert side in ("bid", "ask")
    return Level("bid" if side == "bid" else "ask", Decimal(price), Decimal(total))


def trade(price: str, amount: str = "1", at: float = 0) -> Trade:
    return Trade(at, Decimal(price), Decimal(amount))


def market(*messages: Message, tape_size: int = 20) -> Market:
    seen = Market(tape_size)
    seen.apply(messages)
    return seen


# Feed


def test_lines_in_pieces_of_any_size() -> None:
    data = (LEVEL + TRADE) * 3
    whole = Feed().receive(data)
    assert whole == [level("bid", "145", "300"), trade("145.25", "100", 1461763950.458236)] * 3
    for size in (1, 7, 100):
        feed = Feed()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert [m for piece in pieces for m in feed.receive(piece)] == whole


def test_empty_lines_and_carriage_returns_are_tolerated() -> None:
    assert len(Feed().receive(b"\r\n\n" + LEVEL.replace(b"\n", b"\r\n") + b"\n" + TRADE)) == 2


def test_prices_are_never_binary() -> None:
    text = "0.1000000000000000055511151231257827"
    (message,) = Feed().receive(LEVEL.replace(b"145", text.encode()))
    assert isinstance(message, Level)
    assert str(message.price) == text


def test_nothing_is_asked_about_the_default_instrument() -> None:
    assert Feed().request() == b""
    assert Feed("TEA").request() == b'{"message":"subscribe","symbols":["TEA"]}\n'


@pytest.mark.parametrize("cut", [None, 1, 40])
def test_what_came_before_the_subscription_is_of_another_instrument(cut: int | None) -> None:
    feed = Feed("TEA")
    assert feed.receive(LEVEL + TRADE) == []
    rest = LEVEL + SUBSCRIBED + FRESH + SNAPSHOT
    said = feed.receive(rest[:cut]) + (feed.receive(rest[cut:]) if cut else [])
    assert said == [Subscribed(), level("ask", "3", "5"), SnapshotEnd()]
    assert feed.receive(TRADE) != []


def test_a_refusal_cannot_command_the_terminal() -> None:
    with pytest.raises(FeedError) as refused:
        Feed("X").receive(rb'{"type":"error","error":"no \u001b[2J\u009b","code":"c"}' + b"\n")
    assert "no " in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[]",
        b'{"message":"error","error":"unknown message"}',
        b'{"type":"what"}',
        LEVEL.replace(b"145", b'"NaN"'),
        LEVEL.replace(b"145", b"0"),
        LEVEL.replace(b"145", b"1e900000"),
        LEVEL.replace(b"145", b"1e-900000"),
        LEVEL.replace(b"300", b"-1"),
        LEVEL.replace(b"300", b"1e900000"),
        TRADE.replace(b"1461763950.458236", b"1e300"),
        TRADE.replace(b"1461763950.458236", b"-1"),
        b'{"type":"trade"\xff}',
    ],
)
def test_another_protocol(line: bytes) -> None:
    with pytest.raises(FeedError, match="public port"):
        Feed().receive(line.rstrip() + b"\n")


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    feed = Feed()
    assert feed.receive(b"x" * MAX_LINE) == []
    with pytest.raises(FeedError):
        feed.receive(b"x")


def test_fifty_thousand_lines_take_a_fraction_of_a_second() -> None:
    data = (LEVEL + TRADE) * 25_000
    seen, feed = Market(20), Feed()
    started = time.process_time()
    for at in range(0, len(data), 1 << 18):
        seen.apply(feed.receive(data[at : at + (1 << 18)]))
    assert seen.trades == 25_000
    assert time.process_time() - started < 0.8  # 0.07 on the machine that this was written on


# Market


def test_the_book_keeps_the_latest_total_of_each_level() -> None:
    book = Book()
    for change in (
        level("bid", "145", "300"),
        level("bid", "145.5", "10"),
        level("bid", "144", "7"),
        level("ask", "149", "500"),
        level("ask", "151", "20"),
        level("bid", "145.00", "100"),
        level("bid", "144", "0"),
        level("ask", "160", "0"),
    ):
        book.change(change)
    assert book.bids(5) == [(Decimal("145.5"), Decimal(10)), (Decimal(145), Decimal(100))]
    assert book.asks(1) == [(Decimal(149), Decimal(500))]
    assert book.spread == Decimal("3.5")


def test_no_spread_without_both_sides() -> None:
    assert market(level("bid", "1", "1")).book.spread is None
    assert market(level("ask", "1", "1")).book.spread is None


def test_trades_are_summed_and_the_newest_is_on_top() -> None:
    seen = market(trade("10", "0.1"), trade("11", "0.2"), trade("11"), trade("9"), tape_size=3)
    assert (seen.trades, seen.volume) == (4, Decimal("2.3"))
    assert [(str(line.price), line.move) for line in seen.tape] == [("9", -1), ("11", 0), ("11", 1)]
    assert seen.last == seen.tape[0]


def test_a_subscription_begins_with_an_empty_book() -> None:
    seen = market(level("bid", "145", "300"), trade("145"), Subscribed(), level("ask", "3", "5"))
    assert seen.book.bids(9) == []
    assert seen.book.asks(9) == [(Decimal(3), Decimal(5))]


# Plain lines


def test_plain_lines() -> None:
    assert plain_line(level("bid", "145.50", "300")) == "bid 145.50 300"
    assert plain_line(level("ask", "1e3", "0")) == "ask 1000 0"
    line = plain_line(trade("145", "100", 1461763950.458236))
    assert line == "trade 145 100 2016-04-27T13:32:30.458236Z"
    assert plain_line(StateTold("halted")) == "state halted"
    assert plain_line(Subscribed()) == plain_line(SnapshotEnd()) == ""


# Drawing


def test_numbers_are_aligned_and_exact() -> None:
    assert prices([Decimal("145"), Decimal("145.25"), Decimal("1e1")]) == [
        "145.00",
        "145.25",
        "10.00",
    ]
    assert prices([]) == []
    assert quantity(Decimal("9007199254740993")) == "9,007,199,254,740,993"


def test_the_ladder() -> None:
    book = market(
        level("ask", "151", "250"),
        level("ask", "149.5", "500"),
        level("bid", "145", "300"),
        level("bid", "144", "1000"),
        level("bid", "142", "4500"),
    ).book
    assert [line.rstrip() for line in ladder(book, 3, 44).plain.splitlines()] == [
        "             bid │ price │ ask",
        "",
        "                 │ 151.0 │ 250   ▌",
        "                 │ 149.5 │ 500   █",
        "──────────────── spread 4.5 ────────────────",
        "         ▐   300 │ 145.0 │",
        "        ██ 1,000 │ 144.0 │",
        "██████████ 4,500 │ 142.0 │",
    ]


def test_the_tape() -> None:
    seen = market(trade("10", "1500", 1.5), trade("9.5"), trade("9.5"), trade("12"))
    head, *lines = tape(seen.tape).plain.splitlines()
    assert head.split() == ["time", "price", "quantity"]
    assert [line.split()[1:] for line in lines] == [
        ["▲", "12.0", "1"],
        ["=", "9.5", "1"],
        ["▼", "9.5", "1"],
        ["=", "10.0", "1,500"],
    ]
    assert re.fullmatch(r"\d\d:\d\d:01\.500", lines[-1].split()[0])
    assert len({len(line) for line in (head, *lines)}) == 1


def drawn(seen: Market, width: int, height: int, symbol: str | None = None) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height)
    screen = Screen("127.0.0.1:7002", symbol, levels=10, trades=20)
    console.print(screen.render(seen, width, height), height=height)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]


def busy() -> Market:
    """A market with a full book and tape and long numbers."""
    levels = [level("bid", f"{100 - n}.5", f"{n * 1000}") for n in range(1, 40)]
    levels += [level("ask", f"{100 + n}.5", f"{n * 1000}") for n in range(1, 40)]
    return market(*levels, *(trade(f"{100 + n % 7}.25", f"{n}000") for n in range(200)))


@pytest.mark.parametrize("size", [(80, 24), (130, 40), (200, 60), (50, 30), (40, 10), (20, 5)])
def test_the_screen_fits_the_terminal(size: tuple[int, int]) -> None:
    width, height = size
    for seen in (busy(), market()):
        lines = drawn(seen, width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("size", [(80, 24), (130, 40), (50, 40)])
def test_the_screen_is_legible(size: tuple[int, int]) -> None:
    text = "\n".join(drawn(busy(), *size))
    for part in (
        "default instrument at 127.0.0.1:7002",
        "last 103.25 ▲",
        "volume 19,900,000",
        "200 trades",
        "spread 2.0",
        "99.5",
        "101.5",
        "199,000",
        "Ctrl-C",
    ):
        assert part in text
    assert "…" not in text
    assert "Layout(" not in text


def test_the_levels_fill_a_small_terminal() -> None:
    lines = drawn(busy(), 80, 24)
    assert len([line for line in lines if "█" in line or "▌" in line or "▐" in line]) == 16


def test_a_halt_is_seen_until_trading_goes_on() -> None:
    halted, again = StateTold("halted"), StateTold("open")
    for size in ((130, 40), (40, 10)):
        assert "HALTED" in drawn(market(halted), *size)[0]
        assert "HALTED" not in drawn(market(halted, again), *size)[0]
        assert "HALTED" not in drawn(market(halted, Subscribed()), *size)[0]


def test_a_symbol_is_no_markup() -> None:
    assert "[red]TEA at 127.0.0.1" in drawn(market(), 80, 24, "[red]TEA")[0]


class Paper(io.StringIO):
    """Tells when it was written on."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_redraws_are_few_however_many_messages_come() -> None:
    async def run() -> tuple[int, float, str]:
        out = Paper()
        console = Console(file=out, force_terminal=True, width=80, height=24)
        screen = display.LiveScreen(console, Screen("h:1", None, 10, 20))
        started = time.monotonic()
        with screen:
            drawing = asyncio.create_task(screen.run())
            for _ in range(5_000):
                screen.show([trade("1")])
                await asyncio.sleep(0)
            while "5,000 trades" not in out.getvalue():
                out.written.clear()
                await out.written.wait()
            drawing.cancel()
        return out.getvalue().count("Ctrl-C"), time.monotonic() - started, out.getvalue()

    draws, seconds, text = asyncio.run(run())
    # One when it is opened, one at the first message, and then at most one per interval.
    assert draws <= 2 + seconds / display.REDRAW_SECONDS
    assert text.endswith("\x1b[?1049l")


# The whole, against a real server


class Watcher:
    """`wood watch` as a process of its own."""

    def __init__(self, folder: Path, server: Server, *options: str) -> None:
        self.out, self.err = folder / "watch.out", folder / "watch.err"
        command = [sys.executable, "-m", "wood", "watch", "-p", str(server.public), *options]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=ROOT, env=clean_environment()
            )

    def until(self, count: int) -> list[str]:
        """The lines, as soon as there are `count`."""
        eventually(lambda: len(self.lines()) >= count, f"{count} lines")
        return self.lines()

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def watch(tmp_path: Path) -> Iterable[Callable[..., Watcher]]:
    started: list[Watcher] = []

    def start(server: Server, *options: str) -> Watcher:
        started.append(Watcher(tmp_path, server, *options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def order(order_id: int, side: str, price: str, amount: int, **more: str) -> dict[str, object]:
    names = {"message": "createOrder", "orderId": order_id, "side": side}
    return names | {"price": price, "quantity": amount} | more


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_plain_lines_when_piped(
    server: Server, watch: Callable[..., Watcher], number: signal.Signals
) -> None:
    with server.trader() as trader:
        trader.send(order(1, "BUY", "145", 300), order(2, "SELL", "149.5", 500))
        trader.messages(2)
        run = watch(server)
        assert run.until(2) == ["bid 145 300", "ask 149.5 500"]
        trader.send(order(3, "SELL", "145", 100))
        *lines, sale, bid = run.until(4)
    assert len(lines) == 2
    assert re.fullmatch(r"trade 145 100 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", sale)
    assert bid == "bid 145 200"
    assert run.end(number) == 0
    assert run.err.read_text() == ""


def test_another_instrument(
    start_server: Callable[..., Server], watch: Callable[..., Watcher]
) -> None:
    server = start_server("--instrument", "TEA:0.01:1", "--instrument", "JAM:0.01:1")
    with server.trader() as trader:
        trader.send(order(1, "BUY", "145", 300), order(1, "BUY", "2", 3, symbol="JAM"))
        trader.messages(2)
        run = watch(server, "--symbol", "JAM")
        assert run.until(1) == ["bid 2 3"]
        trader.send(order(2, "BUY", "144", 300), order(2, "BUY", "1.5", 4, symbol="JAM"))
        assert run.until(2) == ["bid 2 3", "bid 1.5 4"]
    assert run.end() == 0


def test_a_halt_is_a_line(
    start_server: Callable[..., Server], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    where = ("--participants", str(tmp_path / "participants.json"))
    token = run_wood_here("participant", "add", "root", "--operator", *where).stdout.strip()
    server = start_server(*where)
    who = {"WOOD_OPERATOR": "root", "WOOD_TOKEN": token}
    run = watch(server, "--symbol", "WOOD")
    run_wood_here("halt", "WOOD", "-p", str(server.private), **who)
    assert run.until(1) == ["state halted"]
    run_wood_here("resume", "WOOD", "-p", str(server.private), **who)
    assert run.until(2) == ["state halted", "state open"]
    assert run.end() == 0


def test_an_unknown_instrument(server: Server) -> None:
    ended = run_wood("watch", "-p", str(server.public), "--symbol", "NOPE")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("wood: the server refused to show this")
    assert ended.stderr.count("\n") == 1


def test_no_server_with_every_option_from_the_environment() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.2", 0))
        ended = run_wood(
            "watch",
            WOOD_WATCH_HOST="127.0.0.2",
            WOOD_WATCH_PUBLIC=str(unused.getsockname()[1]),
            WOOD_WATCH_LEVELS="3",
            WOOD_WATCH_TRADES="3",
            WOOD_WATCH_SYMBOL="TEA",
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"wood: no server at 127\.0\.0\.2:\d+ .*start one with.*\n", ended.stderr)


def test_the_server_goes_away(server: Server, watch: Callable[..., Watcher]) -> None:
    run = watch(server)
    with server.trader() as trader:
        trader.ask(order(1, "BUY", "145", 300))
        run.until(1)
    server.stop()
    assert run.process.wait(PATIENCE) == 1
    expected = f"wood: the server at 127.0.0.1:{server.public} closed the connection\n"
    assert run.err.read_text() == expected


def test_nobody_reads_the_lines(server: Server) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "wood", "watch", "-p", str(server.public)]
    process = subprocess.Popen(
        command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT, env=clean_environment()
    )
    os.close(writing)
    os.close(reading)
    with server.trader() as trader:
        trader.ask(order(1, "BUY", "145", 300))
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert b"Exception" not in err


def test_help_names_the_environment() -> None:
    text = run_wood_here("watch", "-h").stdout
    for name in ("HOST", "PUBLIC", "SYMBOL", "LEVELS", "TRADES"):
        assert f"WOOD_WATCH_{name}" in text


class Terminal:
    """`wood watch` in a terminal of its own."""

    def __init__(self, server: Server) -> None:
        self._master, slave = pty.openpty()
        self.resize(80, 24)
        command = [sys.executable, "-m", "wood", "watch", "-p", str(server.public)]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=clean_environment(TERM="xterm-256color", COLUMNS="80", LINES="24"),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        os.set_blocking(self._master, False)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def until(self, pattern: str) -> str:
        """All that was shown since the last call, as soon as `pattern` is found in it."""
        found = b""

        def shows() -> bool:
            nonlocal found
            found += self._read()
            return re.search(pattern, found.decode(errors="replace")) is not None

        eventually(shows, pattern)
        return found.decode(errors="replace")

    def _read(self) -> bytes:
        try:
            return os.read(self._master, 1 << 16)
        except OSError:  # nothing to read now, or the other end is closed
            return b""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(server: Server) -> Iterable[Terminal]:
    opened = Terminal(server)
    yield opened
    opened.close()


def test_live_in_a_terminal(server: Server, terminal: Terminal) -> None:
    terminal.until("no trades yet")
    with server.trader() as trader:
        trader.send(order(1, "BUY", "145", 300), order(2, "SELL", "149.5", 500))
        trader.send(order(3, "SELL", "145", 100))
        terminal.until("spread 4.5")
    terminal.resize(120, 30)
    terminal.until("╰─{70}╯")  # the ladder takes 72 of 120 columns
    terminal.press(b"\x03")
    terminal.until(r"\x1b\[\?1049l")
    assert terminal.process.wait(PATIENCE) == 0


def test_the_terminal_is_given_back_when_the_server_goes_away(
    server: Server, terminal: Terminal
) -> None:
    terminal.until("no trades yet")
    server.stop()
    end = terminal.until("closed the connection")
    assert end.index("\x1b[?1049l") < end.index("wood: the server at")
    assert terminal.process.wait(PATIENCE) == 1
