"""How far all was told, in each partition."""

import pytest

from wood.client.errors import ProtocolError
from wood.client.places import Places, by_partition, places_in

TWO = {"main": ["WOOD", "PEAR"], "metals": ["GOLD"]}


def of_two() -> Places:
    places = Places()
    places.know(TWO)
    places.begin("main", 5, 70)
    places.begin("metals", 9, 71)
    return places


def test_the_only_partition_has_bare_numbers() -> None:
    places = Places()
    assert (places.seq, places.epoch) == (None, None)
    places.know({})
    places.begin(places.of("WOOD"), 5, 7)
    assert (places.seq, places.epoch) == (5, 7)
    assert places.of("PEAR") == places.of(None)


def test_of_several_each_has_its_own() -> None:
    places = of_two()
    assert places.seq == {"main": 5, "metals": 9}
    assert places.epoch == {"main": 70, "metals": 71}
    assert places.goes_on(places.of("PEAR"), 6)
    assert not places.goes_on(places.of("WOOD"), 6)
    assert not places.goes_on(places.of("GOLD"), 9)
    assert places.goes_on(places.of("GOLD"), 10)
    assert places.seq == {"main": 6, "metals": 10}


def test_a_number_is_reached_and_a_beginning_may_lie_before() -> None:
    places = of_two()
    places.reached("metals", 7, 72)
    assert (places.seq, places.epoch) == ({"main": 5, "metals": 9}, {"main": 70, "metals": 72})
    places.begin("metals", 7, 73)
    assert (places.seq, places.epoch) == ({"main": 5, "metals": 7}, {"main": 70, "metals": 73})


def test_no_symbol_and_an_unknown_one_lead_to_the_first() -> None:
    places = of_two()
    assert [places.of(symbol) for symbol in (None, "NOPE", "PEAR", "GOLD")] == [
        *("main", "main", "main", "metals"),
    ]
    assert places.symbols({"main"}) == ("WOOD", "PEAR")


def test_what_is_no_partition_any_more_is_forgotten() -> None:
    places = Places()
    places.begin(None, 5, 7)
    places.know(TWO)
    assert (len(places), places.seq, places.epoch) == (0, None, None)
    places = of_two()
    places.know({"metals": ["GOLD"]})
    assert (places.seq, places.epoch) == ({"metals": 9}, {"metals": 71})


@pytest.mark.parametrize(
    ("value", "each"), [(True, {None: True}), ({"main": True}, {"main": True})]
)
def test_what_stands_on_the_wire(value: bool | dict[str, bool], each: dict[object, bool]) -> None:
    assert by_partition(value) == each


def test_numbers_and_their_epochs() -> None:
    assert places_in(5, 7) == {None: (5, 7)}
    assert places_in({"main": 5}, {"main": 7}) == {"main": (5, 7)}


@pytest.mark.parametrize(("seq", "epoch"), [(5, {"main": 7}), ({"main": 5}, {"metals": 7})])
def test_numbers_without_an_epoch(seq: int, epoch: int) -> None:
    with pytest.raises(ProtocolError, match="different partitions"):
        places_in(seq, epoch)
