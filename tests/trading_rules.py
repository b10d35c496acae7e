"""What the tests of halts, limits, collars and self-trade prevention share."""

from typing import Any

from tests.engines import EngineTests, with_loop
from tests.test_exchange import asking
from wood.model.commands import AmendOrder, CancelOrder, ChangeState, Command, NewOrder
from wood.model.errors import ErrorCode, Limit
from wood.model.events import (
    CommandRefused,
    Event,
    LevelChanged,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    StateChanged,
    Trade,
)
from wood.model.instruments import Instrument, Instruments
from wood.model.limits import Limits
from wood.model.orders import FOK, GTC, IOC, Beyond, Reason, SelfTrade, Side, State, TimeInForce
from wood.model.participants import Participant
from wood.model.trading import TradingRules


def listed(rules: TradingRules) -> Instruments:
    """WOOD with these rules, and PEAR with none."""
    return Instruments([Instrument("WOOD", rules=rules), Instrument("PEAR", "0.5", "10")])


def limited(**limits: float) -> TradingRules:
    return TradingRules(limits=Limits(**limits))


def preventing(mode: SelfTrade) -> TradingRules:
    return TradingRules(self_trade=mode)


def collared(collar: int, beyond: Beyond = Beyond.REFUSE, reference: int | None = 100) -> Any:
    return TradingRules(collar=collar, beyond=beyond, reference=reference)


def known(**limits: Limits) -> dict[str, Participant]:
    """A participant `own` with these limits of its own, by symbol, `everywhere` for all of them."""
    own = {"*" if symbol == "everywhere" else symbol: each for symbol, each in limits.items()}
    return {"own": Participant("d" * 64, 1, limits=own)}


def order(
    who: str,
    order_id: int,
    side: Side,
    price: int | None,
    quantity: int,
    lasts: TimeInForce = GTC,
    post_only: bool = False,
) -> NewOrder:
    """An order for WOOD."""
    session = f"{who}-session"
    return NewOrder(who, session, 0, "WOOD", order_id, side, price, quantity, lasts, post_only)


def fok(who: str, order_id: int, side: Side, price: int | None, quantity: int) -> NewOrder:
    return order(who, order_id, side, price, quantity, FOK)


def market(who: str, order_id: int, side: Side, quantity: int) -> NewOrder:
    return order(who, order_id, side, None, quantity, IOC)


def amend(who: str, order_id: int, price: int | None, quantity: int | None) -> Command:
    return asking(AmendOrder, who, "WOOD", order_id, price, quantity)


def cancel(who: str, order_id: int) -> Command:
    return asking(CancelOrder, who, "WOOD", order_id)


def change(state: State, symbol: str = "WOOD") -> Command:
    return asking(ChangeState, "op", symbol, state)


def refused(
    who: str,
    order_id: int | None,
    code: ErrorCode,
    text: str,
    limit: Limit | None = None,
    retry_after: int | None = None,
    symbol: str | None = "WOOD",
) -> CommandRefused:
    return CommandRefused(who, f"{who}-session", code, text, order_id, symbol, limit, retry_after)


Row = tuple[object, ...]


def rows(events: list[Event]) -> list[Row]:
    """What matters of each event, in their order; the `Recorder` has looked at the numbers."""
    found: list[Row] = []
    for event in events:
        match event:
            case OrderAccepted():
                found.append(("accepted", event.participant, event.order_id))
            case OrderAmended():
                found.append(("amended", event.order_id, event.price, event.quantity))
            case Trade():
                found.append(("trade", event.maker, event.maker_order_id, event.quantity))
            case OrderCanceled():
                found.append(("canceled", event.participant, event.order_id, event.quantity))
            case LevelChanged():
                found.append(("level", event.price, event.quantity))
            case StateChanged():
                assert (event.state, event.reason) == (State.HALTED, Reason.COLLAR)
                found.append(("halted",))
            case _:
                found.append((event,))
    return found


class RulesTests(EngineTests):
    """Tests that tell an engine batches of commands under some rules."""

    def told(
        self,
        rules: TradingRules,
        *batches: list[Command],
        participants: dict[str, Participant] | None = None,
        **more: Any,
    ) -> list[Event]:
        """What the last of the batches is answered."""
        answer: list[Event] = []

        async def test() -> None:
            async with self.engine(instruments=listed(rules), **more) as engine:
                if participants is not None:
                    await engine.have(participants)
                for batch in batches:
                    answer[:] = await engine.say(*batch)

        with_loop(test)
        return answer

    def told_both_ways(
        self,
        rules: TradingRules,
        *commands: Command,
        participants: dict[str, Participant] | None = None,
        **more: Any,
    ) -> list[Event]:
        """The same in one batch and in one for each command, which gives the same events."""
        at_once = self.told(rules, list(commands), participants=participants, **more)
        answer: list[Event] = []

        async def test() -> None:
            async with self.engine(instruments=listed(rules), **more) as engine:
                if participants is not None:
                    await engine.have(participants)
                for command in commands:
                    answer.extend(await engine.say(command))

        with_loop(test)
        assert answer == at_once
        return at_once

    def after(self, rules: TradingRules, begin: list[Command], *last: Command) -> list[Row]:
        """What the last commands are answered, after the others."""
        events = self.told_both_ways(rules, *begin, *last)
        first = self.told(rules, begin)
        assert events[: len(first)] == first
        return rows(events[len(first) :])
