import pytest

from wood.model.errors import ConfigError
from wood.model.instruments import MAX_TICKS, Instrument, Instruments


def test_defaults() -> None:
    instrument = Instrument("WOOD")
    assert (instrument.tick, instrument.lot) == ("0.01", "1")
    assert instrument.price.to_units("90071992547409.91") == MAX_TICKS
    assert instrument.quantity.to_units("1e12") == 10**12


@pytest.mark.parametrize("symbol", ["", "a b", "é", "x" * 33, "a\n", "a:b", "{a}", "a\x00"])
def test_symbols_that_cannot_be(symbol: str) -> None:
    with pytest.raises(ConfigError, match="a symbol is 1 to 32"):
        Instrument(symbol)


def test_a_bad_tick_names_the_instrument() -> None:
    with pytest.raises(ConfigError, match="instrument PEAR: the step of the price must be a dec"):
        Instrument("PEAR", "one")


def test_the_first_is_the_default() -> None:
    instruments = Instruments([Instrument("B"), Instrument("A")])
    assert instruments.default.symbol == "B"
    assert list(instruments) == ["B", "A"]
    assert len(instruments) == 2


def test_none_or_twice() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Instruments([])
    with pytest.raises(ConfigError, match="listed twice"):
        Instruments([Instrument("A"), Instrument("A")])
