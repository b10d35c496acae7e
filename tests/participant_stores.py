"""The suite of all stores of participants."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from wood.exchange.limits import LimitChanges
from wood.exchange.participants import ParticipantStore
from wood.model.errors import ConfigError
from wood.model.limits import EVERYWHERE, NONE, Limits
from wood.model.participants import Participant, digest

DIGEST = "0123456789abcdef" * 4
START = 1_600_000_000
"""Before any test runs, in seconds."""


class ParticipantStoreTests(ABC):
    """The suite."""

    @abstractmethod
    def open(self) -> ParticipantStore:
        """The store of this test; another operator's, if it is asked for again."""

    def run(self, *steps: Callable[[ParticipantStore], Awaitable[Any]]) -> list[Any]:
        """What each step returns, one after the other."""

        async def main() -> list[Any]:
            store = self.open()
            try:
                return [await step(store) for step in steps]
            finally:
                await store.close()

        return asyncio.run(main())

    def participants(self) -> dict[str, Participant]:
        [found] = self.run(lambda store: store.list())
        assert isinstance(found, dict)
        return found

    def refused(self, step: Callable[[ParticipantStore], Awaitable[Any]], *words: str) -> None:
        """It is an error of one line, and nothing has changed."""
        before = self.participants()
        with pytest.raises(ConfigError) as caught:
            self.run(step)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)
        assert self.participants() == before

    def test_nobody_is_there(self) -> None:
        assert self.participants() == {}

    def test_what_is_kept_of_who_is_added(self) -> None:
        alice, root, _ = self.run(
            lambda s: s.add("alice"),
            lambda s: s.add("ro-o_t.9", operator=True),
            lambda s: s.add("x" * 32),
        )
        found = self.participants()
        assert set(found) == {"alice", "ro-o_t.9", "x" * 32}
        added = found["alice"].added
        assert added > START
        assert found["alice"] == Participant(digest(alice), added, operator=False, disabled=False)
        assert found["ro-o_t.9"].digest == digest(root)
        assert found["ro-o_t.9"].operator
        assert len(alice) == 43
        assert alice != root

    def test_a_name_is_added_once(self) -> None:
        self.run(lambda s: s.add("alice", operator=True))
        self.refused(lambda s: s.add("alice"), "alice exists", "wood participant rotate alice")

    @pytest.mark.parametrize("name", ["", "a~b", "a b", "x" * 33, "alice\n", "\u00e9", "a:b"])
    def test_a_name_that_is_none(self, name: str) -> None:
        steps: list[Callable[[ParticipantStore], Awaitable[Any]]] = [
            lambda s: s.add(name),
            lambda s: s.rotate(name),
            lambda s: s.disable(name),
            lambda s: s.enable(name),
            lambda s: s.limit(name, {"rate": 1.0}),
        ]
        for step in steps:
            self.refused(step, "no name of a participant: write 1 to 32")
        assert self.participants() == {}

    def test_a_name_that_nobody_has(self) -> None:
        self.run(lambda s: s.add("alice"))
        steps: list[Callable[[ParticipantStore], Awaitable[Any]]] = [
            lambda s: s.rotate("Alice"),
            lambda s: s.disable("Alice"),
            lambda s: s.enable("Alice"),
            lambda s: s.limit("Alice", {"rate": 1.0}),
        ]
        for step in steps:
            self.refused(step, "there is no participant Alice", "wood participant list")

    def test_disabled_and_enabled_again(self) -> None:
        self.run(lambda s: s.add("alice", operator=True), lambda s: s.add("bob"))
        before = self.participants()
        for _ in range(2):
            self.run(lambda s: s.disable("alice"))
            found = self.participants()
            alice = before["alice"]
            assert found["alice"] == Participant(alice.digest, alice.added, True, True)
            assert found["bob"] == before["bob"]
        for _ in range(2):
            self.run(lambda s: s.enable("alice"))
            assert self.participants() == before

    def test_another_token(self) -> None:
        first, second = self.run(
            lambda s: s.add("alice", operator=True), lambda s: s.rotate("alice")
        )
        assert second != first
        [found] = self.participants().values()
        assert found == Participant(digest(second), found.added, operator=True, disabled=False)
        self.run(lambda s: s.disable("alice"))
        [third] = self.run(lambda s: s.rotate("alice"))
        after = Participant(digest(third), found.added, operator=True, disabled=True)
        assert self.participants() == {"alice": after}

    def test_limits_of_its_own(self) -> None:
        self.run(lambda s: s.add("alice", operator=True), lambda s: s.add("bob"))
        before = self.participants()
        self.run(
            lambda s: s.limit("alice", {"rate": 100.0, "order_value": NONE}),
            lambda s: s.limit("alice", {"position": 0.5}, "WOOD"),
            lambda s: s.limit("alice", {"order_quantity": 1e30, "open_orders": 7.0}, "123"),
        )
        own = {
            EVERYWHERE: Limits(rate=100.0, order_value=NONE),
            "WOOD": Limits(position=0.5),
            "123": Limits(order_quantity=1e30, open_orders=7.0),
        }
        assert self.participants() == before | {"alice": replace(before["alice"], limits=own)}
        self.run(
            lambda s: s.limit("alice", {"rate": None, "position": 0.0}),
            lambda s: s.limit("alice", {"position": None, "order_value": None}, "WOOD"),
            lambda s: s.limit("alice", {"open_orders": None}, "123"),
        )
        own = {
            EVERYWHERE: Limits(order_value=NONE, position=0.0),
            "123": Limits(order_quantity=1e30),
        }
        assert self.participants()["alice"].limits == own
        self.run(lambda s: s.rotate("alice"), lambda s: s.disable("alice"))
        assert self.participants()["alice"].limits == own, "other changes leave them"
        self.run(
            lambda s: s.enable("alice"),
            lambda s: s.limit("alice", {"order_value": None, "position": None}),
            lambda s: s.limit("alice", {"order_quantity": None}, "123"),
        )
        assert self.participants()["alice"].limits == {}

    @pytest.mark.parametrize(
        ("symbol", "changes", "said"),
        [
            (EVERYWHERE, {"rate": 2.5}, "2.5 for rate is no whole number"),
            (EVERYWHERE, {"rate": 0.0}, "0 for rate cannot be"),
            (EVERYWHERE, {"position": -2.0}, "-2 for position cannot be"),
            (EVERYWHERE, {"order_value": math.nan}, "cannot be"),
            (EVERYWHERE, {"order_value": math.inf}, "cannot be"),
            ("WOOD", {"rate": 1.0}, "rate holds in all instruments"),
            ("WOOD", {"rate": None}, "rate holds in all instruments"),
            ("WO:OD", {"position": 1.0}, "a symbol is 1 to 32"),
            ("", {"position": 1.0}, "a symbol is 1 to 32"),
            ("WOOD\n", {"position": 1.0}, "a symbol is 1 to 32"),
        ],
    )
    def test_limits_that_cannot_be(self, symbol: str, changes: LimitChanges, said: str) -> None:
        self.run(lambda s: s.add("alice"))
        self.refused(lambda s: s.limit("alice", changes, symbol), said)

    def test_many_operators_set_limits_at_once(self) -> None:
        """None of them undoes what another one does."""
        self.run(lambda s: s.add("alice"))

        async def set_one(symbol: str, field: str) -> None:
            store = self.open()
            try:
                await store.limit("alice", {field: 5.0}, symbol)
            finally:
                await store.close()

        fields = ["open_orders", "order_quantity", "order_value", "position"]

        async def main() -> None:
            pairs = [(f"S{number}", field) for number in range(8) for field in fields]
            await asyncio.gather(*(set_one(*pair) for pair in pairs))

        asyncio.run(main())
        every = Limits(**dict.fromkeys(fields, 5.0))
        assert self.participants()["alice"].limits == {f"S{number}": every for number in range(8)}

    def test_one_of_many_operators_adds_a_name(self) -> None:
        async def add(name: str) -> str | ConfigError:
            store = self.open()
            try:
                return await store.add(name)
            except ConfigError as error:
                return error
            finally:
                await store.close()

        async def main() -> list[str | ConfigError]:
            names = [name for number in range(30) for name in ("same", f"own-{number}")]
            return await asyncio.gather(*map(add, names))

        answers = asyncio.run(main())
        assert not any(isinstance(answer, ConfigError) for answer in answers[1::2])
        [token] = [answer for answer in answers[::2] if isinstance(answer, str)]
        found = self.participants()
        assert len(found) == 31
        assert found["same"].digest == digest(token), (
            "the token that was shown is the one that fits"
        )
