"""The random traders: what they decide by unit tests, the rest against a real server."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from random import Random
from statistics import mean, stdev

import pytest

from tests.support import PATIENCE, ROOT, Server, clean_environment, eventually, run_wood
from wood.client.requests import CancelOrder, CreateOrder, MarketOrder, Request, encode
from wood.model.errors import WoodError
from wood.model.orders import BUY, SELL
from wood.tools.connection import ConnectionFailed
from wood.tools.errors import UnexpectedReply
from wood.tools.traders import grid as grid_module
from wood.tools.traders.grid import Grid, ask_grid, grid_in
from wood.tools.traders.messages import ErrorReply, ExecutionReport, decode, printable
from wood.tools.traders.summary import summary
from wood.tools.traders.tally import Tally
from wood.tools.traders.trader import MAX_OPEN, Trader

Answer = Callable[[Request], Iterable[ExecutionReport | ErrorReply]]


def accept(request: Request) -> list[ExecutionReport | ErrorReply]:
    """A market in which nothing trades."""
    if isinstance(request, CancelOrder):
        return [ExecutionReport(request.order_id, "CANCELED")]
    new = ExecutionReport(request.order_id, "NEW")
    if isinstance(request, MarketOrder):
        return [new, ExecutionReport(request.order_id, "CANCELED")]
    return [new]


def refuse(request: Request) -> list[ExecutionReport | ErrorReply]:
    return [ErrorReply("not today", "halted", request.order_id)]


def fill(request: Request) -> list[ExecutionReport | ErrorReply]:
    """A market that takes every order at 100."""
    if isinstance(request, CancelOrder):
        return refuse(request)
    assert isinstance(request, (CreateOrder, MarketOrder))
    order_id, quantity = request.order_id, Decimal(request.quantity)
    return [
        ExecutionReport(order_id, "NEW"),
        ExecutionReport(order_id, "FILL", Decimal(100), quantity),
    ]


def play(trader: Trader, count: int, answer: Answer) -> list[Request | None]:
    """`count` decisions, each answered at once."""
    decisions = []
    for _ in range(count):
        trader.pause(1)
        request = trader.decide()
        decisions.append(request)
        for reply in answer(request) if request else ():
            trader.receive(reply)
    return decisions


def first_order(trader: Trader) -> CreateOrder:
    """Decide until there is a limit order."""
    while not isinstance(request := trader.decide(), CreateOrder):
        assert request is not None
        trader.receive(ErrorReply("", "invalid", request.order_id))
    return request


# Decisions


def test_the_same_seed_and_replies_say_the_same() -> None:
    said = [play(Trader(Random("7/1")), 500, accept) for _ in range(2)]
    assert said[0] == said[1]
    assert said[0] != play(Trader(Random("7/2")), 500, accept)


def test_the_same_seed_draws_the_same_orders_whatever_the_market_does() -> None:
    refused = play(Trader(Random(1)), 500, refuse)
    accepted = play(Trader(Random(1)), 500, accept)
    different = [pair for pair in zip(accepted, refused, strict=True) if pair[0] != pair[1]]
    assert different
    assert all(isinstance(said, CancelOrder) for said, _ in different)


def test_prices_and_quantities_are_normally_distributed_on_the_grid() -> None:
    said = play(Trader(Random(3)), 10_000, fill)
    orders = [request for request in said if isinstance(request, CreateOrder)]
    prices = [order.price for order in orders]
    quantities = [Decimal(order.quantity) for order in orders]
    assert mean(prices) == pytest.approx(Decimal(100), abs=Decimal("0.1"))
    assert stdev(prices) == pytest.approx(Decimal(2), abs=Decimal("0.1"))
    assert all(price == price.quantize(Decimal("0.01")) for price in prices)
    assert mean(quantities) == pytest.approx(100, abs=2)
    assert stdev(quantities) == pytest.approx(40, abs=2)
    assert min(quantities) >= 1


def test_kinds_sides_and_ids() -> None:
    resting = Counter(type(request) for request in play(Trader(Random(4)), 5_000, accept))
    assert resting[CancelOrder] / 5_000 >= 0.18
    said = play(Trader(Random(4)), 5_000, fill)
    kinds = Counter(type(request) for request in said)
    assert kinds[MarketOrder] / 5_000 == pytest.approx(0.1, abs=0.02)
    orders = [r for r in said if isinstance(r, CreateOrder)]
    sides = Counter(order.side for order in orders)
    assert sides[BUY] / len(orders) == pytest.approx(0.5, abs=0.03)
    ids = {order.order_id for order in orders}
    assert len(ids) == len(orders)
    assert 2**63 < max(ids) < 2**64


class Extreme(Random):
    """Draws far below the mean."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu - 1000 * sigma


def test_the_least_price_is_a_tick_and_the_least_quantity_one() -> None:
    order = first_order(Trader(Extreme(1)))
    assert (order.price, order.quantity) == (Decimal("0.01"), 1)


@pytest.mark.parametrize(("tick", "lot"), [("0.05", "10"), ("500", "1000"), ("0.001", "0.25")])
def test_prices_and_quantities_are_on_the_grid_of_the_instrument(tick: str, lot: str) -> None:
    grid = Grid(Decimal(tick), Decimal(lot))
    said = play(Trader(Random(3), grid=grid), 2_000, fill)
    orders = [request for request in said if isinstance(request, CreateOrder)]
    assert not any(order.price % grid.tick or order.quantity % grid.lot for order in orders)
    assert min(order.price for order in orders) >= grid.tick
    assert min(order.quantity for order in orders) >= grid.lot
    middle = mean(order.price for order in orders)
    assert middle == pytest.approx(max(Decimal(100), grid.tick), abs=Decimal("0.2"))


def test_steps_of_any_size_can_be_drawn() -> None:
    order = first_order(Trader(Random(1), grid=Grid(Decimal("1e-39"), Decimal("1e39"))))
    assert 0 < order.price < 2**53 * Decimal("1e-39")
    assert order.quantity == Decimal("1e39")


def listed(**steps: str) -> bytes:
    fields = {"symbol": "WOOD", "tick": "0.01", "lot": "1", "state": "open"} | steps
    text = ",".join(f'"{name}":{json.dumps(value)}' for name, value in fields.items())
    other = '{"symbol":"TEA","tick":0.10000000000000000001,"lot":10,"state":"open"}'
    return f'{{"message":"instruments","instruments":[{{{text}}},{other}]}}'.encode()


def test_the_grid_is_exact_and_of_the_first_instrument_unless_asked() -> None:
    assert grid_in(listed(tick="0.05"), None) == Grid(Decimal("0.05"), Decimal(1))
    assert grid_in(listed(), "TEA") == Grid(Decimal("0.10000000000000000001"), Decimal(10))


def test_a_server_of_the_base_has_the_grid_of_the_base() -> None:
    refused = b'{"message":"error","error":"what?","code":"invalid"}'
    assert grid_in(refused, "TEA") == Grid(Decimal("0.01"), Decimal(1))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (listed(), "does not trade NOPE, but WOOD TEA"),
        (listed(symbol="NOPE", tick="0"), "a tick or a lot of 0"),
        (listed(symbol="NOPE", lot="NaN"), "a tick or a lot of NaN"),
        (listed(symbol="NOPE", lot="1e-999999"), "a tick or a lot of 1E-999999"),
        (b'{"type":"error","error":"what?","code":"invalid"}', "give its private port with -p"),
    ],
)
def test_a_grid_on_which_nobody_can_trade(line: bytes, said: str) -> None:
    with pytest.raises(WoodError, match=said):
        grid_in(line, "NOPE")


def test_a_server_that_says_nothing_has_the_grid_of_the_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid_module, "ASK_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(ask_grid("127.0.0.1", silent.getsockname()[1], None)) == Grid()


def test_a_server_that_closes_has_no_grid() -> None:
    async def play() -> None:
        closing = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with closing:
            await ask_grid("127.0.0.1", closing.sockets[0].getsockname()[1], None)

    with pytest.raises(ConnectionFailed, match="closed the connection"):
        asyncio.run(play())


def test_pauses_are_exponential_at_the_rate() -> None:
    trader = Trader(Random(5))
    pauses = [trader.pause(4) for _ in range(10_000)]
    assert mean(pauses) == pytest.approx(0.25, rel=0.05)
    assert stdev(pauses) == pytest.approx(0.25, rel=0.05)


def test_open_orders_are_bounded_when_nothing_trades() -> None:
    trader = Trader(Random(6))
    most = 0
    for _ in range(5_000):
        play(trader, 1, accept)
        most = max(most, len(trader.open_orders))
    assert most == MAX_OPEN


def test_a_silent_server_is_not_asked_for_ever() -> None:
    trader = Trader(Random(6))
    said = play(trader, 5_000, lambda request: ())
    assert len([request for request in said if request]) == MAX_OPEN


def test_only_own_resting_orders_are_cancelled_and_once() -> None:
    trader = Trader(Random(8))
    resting: set[int] = set()
    for request in (play(trader, 1, accept)[0] for _ in range(2_000)):
        assert request is not None
        if isinstance(request, CancelOrder):
            resting.remove(request.order_id)
        elif isinstance(request, CreateOrder):
            resting.add(request.order_id)
    assert resting == set(trader.open_orders)


def test_no_order_is_cancelled_again_before_the_answer() -> None:
    said = play(Trader(Random(8)), 2_000, lambda r: () if isinstance(r, CancelOrder) else accept(r))
    cancels = [request.order_id for request in said if isinstance(request, CancelOrder)]
    assert len(cancels) == len(set(cancels)) == MAX_OPEN


def test_the_symbol_is_on_every_message() -> None:
    assert all(r.symbol == "TEA" for r in play(Trader(Random(1), "TEA"), 200, accept) if r)


# Replies


def test_fills_are_summed_exactly() -> None:
    trader = Trader(Random(1))
    order = first_order(trader)
    trader.receive(ExecutionReport(order.order_id, "NEW"))
    trader.receive(
        decode(
            b'{"message":"executionReport","orderId":%d,"report":"FILL",'
            b'"price":0.1,"quantity":3}' % order.order_id
        )
    )
    amount = trader.tally.spent if order.side is BUY else trader.tally.earned
    assert amount == Decimal("0.3")
    assert trader.open_orders[order.order_id].remaining == order.quantity - 3


def test_an_order_filled_in_full_is_no_longer_open() -> None:
    trader = Trader(Random(1))
    play(trader, 100, fill)
    assert not trader.open_orders
    assert trader.tally.position == trader.tally.bought - trader.tally.sold
    assert trader.tally.cash == -100 * trader.tally.position


def test_the_rest_of_a_market_order_is_cancelled_without_a_question() -> None:
    trader = Trader(Random(1))
    said = play(trader, 200, accept)
    assert any(isinstance(request, MarketOrder) for request in said)
    assert trader.tally.reports["CANCELED"] == (
        trader.tally.sent["cancelOrder"] + trader.tally.sent["marketOrder"]
    )


def test_a_refused_order_is_forgotten() -> None:
    trader = Trader(Random(1))
    order = first_order(trader)
    trader.receive(ErrorReply("no", "invalid", order.order_id))
    assert not trader.open_orders
    assert trader.tally.errors >= 1


def test_a_refusal_without_an_id_answers_the_oldest_question() -> None:
    trader = Trader(Random(1))
    first, second = first_order(trader), first_order(trader)
    trader.receive(ErrorReply("too many messages", "rate"))
    trader.receive(ExecutionReport(second.order_id, "NEW"))
    assert first.order_id not in trader.open_orders
    assert trader.open_orders[second.order_id].resting


@pytest.mark.parametrize(("code", "still_open"), [("not_found", False), ("rate", True)])
def test_a_refused_cancel(code: str, still_open: bool) -> None:
    trader = Trader(Random(1))
    order = first_order(trader)
    trader.receive(ExecutionReport(order.order_id, "NEW"))
    (cancel,) = trader.leave()
    trader.receive(ErrorReply("no", code, cancel.order_id))
    assert (order.order_id in trader.open_orders) is still_open
    assert [again.order_id for again in trader.leave()] == [order.order_id] * still_open


def test_leaving_cancels_what_rests_and_what_is_not_yet_answered() -> None:
    trader = Trader(Random(1))
    first = first_order(trader)
    trader.receive(ExecutionReport(first.order_id, "NEW"))
    second = first_order(trader)
    said = trader.leave()
    assert {cancel.order_id for cancel in said} == {first.order_id, second.order_id}
    for request in (second, *said):
        for reply in accept(request):
            trader.receive(reply)
    assert not trader.open_orders


def test_news_of_no_order_of_ours() -> None:
    with pytest.raises(UnexpectedReply, match="not open"):
        Trader(Random(1)).receive(ExecutionReport(7, "FILL", Decimal(1), Decimal(1)))


def test_an_unknown_symbol_is_the_end() -> None:
    trader = Trader(Random(1), "NOPE")
    order = first_order(trader)
    with pytest.raises(UnexpectedReply, match="does not trade NOPE: 'no such thing'"):
        trader.receive(ErrorReply("no such thing", "unknown_symbol", order.order_id))


def test_more_filled_than_there_was() -> None:
    trader = Trader(Random(1))
    order = first_order(trader)
    too_much = Decimal(order.quantity + 1)
    with pytest.raises(UnexpectedReply, match="more"):
        trader.receive(ExecutionReport(order.order_id, "FILL", Decimal(1), too_much))


# Messages


def test_encoded_as_the_protocol_has_it() -> None:
    order = CreateOrder(order_id=2**64 - 1, side=SELL, price=Decimal("99.87"), quantity=120)
    assert encode(order) == (
        b'{"message":"createOrder","orderId":18446744073709551615,'
        b'"side":"SELL","price":99.87,"quantity":120}\n'
    )
    cancel = CancelOrder(order_id=1, symbol="TEA")
    assert encode(cancel) == b'{"message":"cancelOrder","orderId":1,"symbol":"TEA"}\n'


def test_report_prices_are_never_binary() -> None:
    text = "0.1000000000000000055511151231257827"
    line = (
        f'{{"message":"executionReport","orderId":1,"report":"FILL","price":{text},"quantity":1}}'
    )
    reply = decode(line.encode())
    assert isinstance(reply, ExecutionReport)
    assert str(reply.price) == text


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"[]", b'{"type":"trade","time":1,"price":1,"quantity":1}', b'{"a":']
)
def test_another_protocol(line: bytes) -> None:
    with pytest.raises(UnexpectedReply, match="private port"):
        decode(line)


def test_nothing_printed_commands_the_terminal() -> None:
    assert printable('{"error":"naïve"}\r\n'.encode()) == '{"error":"naïve"}'
    for line in (b"\x1b[2J", "\x9b2J".encode(), b"\xff\x07", b"a\rb\n", "\u202e".encode()):
        assert printable(line).isprintable()


# Summary


def test_summary() -> None:
    first, second = Tally(), Tally()
    first.sent.update(createOrder=12, cancelOrder=3)
    first.reports.update(NEW=12, FILL=1, CANCELED=3)
    second.sent.update(createOrder=1, marketOrder=1)
    second.reports.update(NEW=2, FILL=1)
    second.errors = 1
    first.fill(BUY, Decimal("99.50"), Decimal(100))
    second.fill(SELL, Decimal("99.50"), Decimal(100))
    assert summary([first, second]).splitlines() == [
        "messages  createOrder  marketOrder  cancelOrder  NEW  FILL  CANCELED  errors",
        "trader 1           12            0            3   12     1         3       0",
        "trader 2            1            1            0    2     1         0       1",
        "total              13            1            3   14     2         3       1",
        "",
        "trades    bought   for  sold   for  position   cash",
        "trader 1     100  9950     0     0      +100  -9950",
        "trader 2       0     0   100  9950      -100  +9950",
        "total        100  9950   100  9950         0      0",
    ]


# The whole, against a real server


class Traders:
    """`wood -c` as a process of its own."""

    def __init__(self, folder: Path, server: Server, *options: str) -> None:
        self.out, self.err = folder / "traders.out", folder / "traders.err"
        command = [sys.executable, "-m", "wood", "-c", "-p", str(server.private), *options]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=ROOT, env=clean_environment()
            )

    def until(self, text: str, count: int) -> None:
        """Wait until `text` was printed `count` times."""
        eventually(lambda: self.text().count(text) >= count, f"{count} times {text}")

    def text(self) -> str:
        return self.out.read_text()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def said(self, trader: int, direction: str) -> list[dict[str, object]]:
        """The messages that `trader` sent (>) or received (<)."""
        prefix = f"trader {trader} {direction} "
        lines = [line for line in self.text().splitlines() if line.startswith(prefix)]
        return [json.loads(line.removeprefix(prefix), parse_float=Decimal) for line in lines]

    def rows(self) -> dict[str, dict[str, Decimal]]:
        """The summary, its two tables in one; of the columns `for` the last."""
        rows: dict[str, dict[str, Decimal]] = {}
        for table in re.findall(
            r"^((?:messages|trades) .*?)(?:\n\n|\n*\Z)", self.text(), re.S | re.M
        ):
            heading, *lines = table.splitlines()
            columns = heading.split()[1:]
            for line in lines:
                *name, _ = re.split(r"\s{2,}", line, maxsplit=1)
                cells = map(Decimal, line.removeprefix(name[0]).split())
                rows.setdefault(name[0], {}).update(zip(columns, cells, strict=True))
        return rows


@pytest.fixture
def traders(tmp_path: Path, server: Server) -> Iterable[Callable[..., Traders]]:
    started: list[Traders] = []

    def start(*options: str) -> Traders:
        started.append(Traders(tmp_path, server, *options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_market_of_random_traders_adds_up(
    server: Server, traders: Callable[..., Traders], number: signal.Signals
) -> None:
    run = traders("-n", "2", "--rate", "100", "--seed", "7")
    run.until('"FILL"', 50)
    assert run.end(number) == 0
    assert run.err.read_text() == ""
    assert "still open" not in run.text()
    rows = run.rows()
    assert rows["total"]["bought"] == rows["total"]["sold"] > 0
    assert rows["total"]["position"] == rows["total"]["cash"] == 0
    for trader in (1, 2):
        check_row(run, trader, rows[f"trader {trader}"])
    assert book_is_empty(server)


def check_row(run: Traders, trader: int, row: dict[str, Decimal]) -> None:
    """A row of the summary says what the lines above it say."""
    sent, received = run.said(trader, ">"), run.said(trader, "<")
    for kind in ("createOrder", "marketOrder", "cancelOrder"):
        assert row[kind] == len([m for m in sent if m["message"] == kind])
    for report in ("NEW", "FILL", "CANCELED"):
        assert row[report] == len([m for m in received if m.get("report") == report])
    assert row["errors"] == len([m for m in received if "error" in m])
    sides = {m["orderId"]: m["side"] for m in sent if "side" in m}
    bought = sold = cash = Decimal(0)
    for message in received:
        if message.get("report") == "FILL":
            price, quantity = Decimal(str(message["price"])), Decimal(str(message["quantity"]))
            if sides[message["orderId"]] == "BUY":
                bought, cash = bought + quantity, cash - price * quantity
            else:
                sold, cash = sold + quantity, cash + price * quantity
    assert (row["bought"], row["sold"]) == (bought, sold)
    assert (row["position"], row["cash"]) == (bought - sold, cash)


def book_is_empty(server: Server) -> bool:
    """Whether a new watcher is given no level."""
    with server.watcher() as watcher:
        watcher.send({"message": "subscribe", "symbols": ["WOOD"]})
        return [m["type"] for m in watcher.messages(2)] == ["subscribed", "snapshot"]


def test_the_same_seed_draws_the_same_orders_on_a_real_market(
    traders: Callable[..., Traders],
) -> None:
    streams = []
    for seed in ("7", "7", "8"):
        # Slowly: what is drawn next depends on the answers that are there by then.
        run = traders("-n", "1", "--rate", "50", "--seed", seed)
        run.until('"NEW"', 25)
        assert run.end() == 0
        sent = [m for m in run.said(1, ">") if m["message"] != "cancelOrder"]
        streams.append(sent[:20])
    assert streams[0] == streams[1] != streams[2]


def test_the_server_goes_away(server: Server, traders: Callable[..., Traders]) -> None:
    run = traders("-n", "2", "--rate", "100")
    run.until('"NEW"', 10)
    server.stop()
    assert run.process.wait(PATIENCE) == 1
    assert run.rows()["total"]["NEW"] >= 10
    lines = run.err.read_text().splitlines()
    assert lines == [f"wood: the server at 127.0.0.1:{server.private} closed the connection"]


def test_no_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ended = run_wood("-c", "-p", str(unused.getsockname()[1]))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(r"wood: no server at 127\.0\.0\.1:\d+ .*start one with.*\n", ended.stderr)


def test_the_public_port_by_mistake(server: Server) -> None:
    ended = run_wood("-c", "-p", str(server.public), "--rate", "100")
    assert ended.returncode == 1
    assert ended.stderr.startswith("wood: the server does not answer as a private port does")
    assert ended.stderr.count("\n") == 1


def test_an_unknown_symbol_is_one_line(server: Server) -> None:
    ended = run_wood("-c", "-p", str(server.private), "--symbol", "NOPE")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "wood: the server does not trade NOPE, but WOOD\n"


def test_nothing_is_refused_for_the_grid(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server("--instrument", "GOLD:0.05:10")
    run = Traders(tmp_path, server, "--rate", "200", "--seed", "1")
    run.until('"NEW"', 50)
    assert run.end() == 0
    assert "multiple" not in run.text()
