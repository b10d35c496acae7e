"""Where servers are, and the order and the pauses in which they are tried."""

import pytest

from wood.client.addresses import FIRST_DELAY, LONGEST_DELAY, Rotation, parse, text


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("localhost:7001", ("localhost", 7001)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[::1]:7001", ("::1", 7001)),
        (("::1", 7001), ("::1", 7001)),
    ],
)
def test_addresses(address: str | tuple[str, int], parsed: tuple[str, int]) -> None:
    assert parse(address) == parsed
    assert parse(text(parsed)) == parsed


@pytest.mark.parametrize(
    "address", ["", "localhost", ":7001", "localhost:", "localhost:x", "host:65536", "::1:7001"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse(address)


def test_no_address_at_all() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Rotation([], lambda: 0.0)


def test_in_turn_with_pauses_that_grow_from_round_to_round() -> None:
    rotation = Rotation(["a:1", "b:2"], lambda: 1.0)
    tried = [rotation.next() for _ in range(6)]
    assert [address for _, address in tried] == [("a", 1), ("b", 2)] * 3
    expected = [0.0, *(FIRST_DELAY * factor for factor in (1, 2, 2, 4, 4))]
    assert [delay for delay, _ in tried] == pytest.approx(expected)
    for _ in range(10_000):
        delay, _ = rotation.next()
    assert delay == LONGEST_DELAY


def test_a_pause_is_drawn_from_nothing_to_its_bound() -> None:
    drawn = iter([0.25, 0.5])
    rotation = Rotation(["a:1"], lambda: next(drawn))
    delays = [rotation.next()[0] for _ in range(3)]
    assert delays == pytest.approx([0, FIRST_DELAY * 2 * 0.25, FIRST_DELAY * 4 * 0.5])


def test_after_one_that_did_well_the_next_one_follows_soon() -> None:
    rotation = Rotation(["a:1", "b:2", "c:3"], lambda: 1.0)
    for _ in range(8):
        rotation.next()
    rotation.did_well()
    assert rotation.next() == (FIRST_DELAY, ("c", 3))
