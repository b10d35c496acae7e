"""How instruments are traded, in an operator's words: options for all, and TOML keys for one.

Both say the same by the same words, and stay text until the two are merged: what an instrument's
table has counts, and for the rest the options.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from wood.cli.limits import FIELDS, NO_LIMIT, read_limit
from wood.model.errors import ConfigError, Refusal
from wood.model.instruments import Instrument
from wood.model.limits import Limits
from wood.model.orders import Beyond, SelfTrade
from wood.model.trading import WHOLE, TradingRules

_PERCENT = re.compile(r"(0|[1-9][0-9]{0,2})(?:\.([0-9]{1,2}))?%", re.ASCII)

_LIMITS = ("max_order_quantity", "max_order_value", "max_position", "max_open_orders")

KEYS = ("self_trade", "collar", "beyond_collar", "reference", *_LIMITS)
"""What the table of an instrument may have of this."""

Texts = Mapping[str, str]
"""Some of the keys, and what is said for each."""


def rules_of(texts: Texts, instrument: Instrument) -> TradingRules:
    """The rules of `instrument` that `texts` say. Raises `ConfigError`, which begins with the key.

    What is said nothing of is as if there were no such rule.
    """
    return TradingRules(
        _read(texts, "self_trade", _read_self_trade, SelfTrade.ALLOW),
        _read(texts, "collar", read_collar, None),
        _read(texts, "beyond_collar", _read_beyond, Beyond.REFUSE),
        _read(texts, "reference", partial(_read_reference, instrument), None),
        Limits(
            **{
                FIELDS[key]: _read(texts, key, partial(read_limit, word=key), None)
                for key in _LIMITS
            }
        ),
    )


def _read(texts: Texts, key: str, read: Callable[[str], Any], otherwise: object) -> Any:
    if key not in texts:
        return otherwise
    try:
        return read(texts[key])
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def read_collar(text: str) -> int | None:
    """A collar such as `5%` or `0.25%` in hundredths of a percent. Raises `ConfigError`."""
    if text == NO_LIMIT:
        return None
    match = _PERCENT.fullmatch(text)
    whole, hundredths = match.groups(default="") if match else ("0", "0")
    collar = int(whole) * 100 + int(hundredths.ljust(2, "0"))
    if not 0 < collar <= WHOLE:
        raise ConfigError(
            f"write a share of the price from 0.01% to 100%, such as 5% or 0.25%, or the word "
            f"{NO_LIMIT}, not {text!r}"
        )
    return collar


def _read_self_trade(text: str) -> SelfTrade:
    return SelfTrade(_word(text, *SelfTrade))


def _read_beyond(text: str) -> Beyond:
    return Beyond(_word(text, *Beyond))


def _word(text: str, *words: str) -> str:
    if text not in words:
        raise ConfigError(f"write one of the words {', '.join(words)}, not {text!r}")
    return text


def _read_reference(instrument: Instrument, text: str) -> int:
    try:
        return instrument.price.to_units(text)
    except Refusal as refusal:
        raise ConfigError(refusal.text) from None


def _checked(read: Callable[[str], object]) -> Callable[..., str | None]:
    """A callback for an option that refuses what `read` does, and keeps the text."""

    def check(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
        try:
            if value is not None:
                read(value)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None
        return value

    return check


_OPTIONS: dict[str, dict[str, Any]] = {
    "self_trade": {
        "type": click.Choice([each.value for each in SelfTrade]),
        "help": "what happens when an order meets a resting one of the same participant: they "
        "trade (allow), or what is cancelled instead.",
    },
    "collar": {
        "metavar": "PERCENT",
        "callback": _checked(read_collar),
        "help": "how far from the last trade's price an order may be priced, and may trade, "
        "such as 5% or 0.25%.",
    },
    "beyond_collar": {
        "type": click.Choice([each.value for each in Beyond]),
        "help": "beyond the collar orders are refused, or trading is halted where an order "
        "would trade there.",
    },
    "max_order_quantity": {"help": "the largest quantity of one order."},
    "max_order_value": {"help": "the largest value of one order: its price times its quantity."},
    "max_position": {
        "help": "how much a participant may be long or short in one instrument, with all its "
        "open orders filled."
    },
}

OPTIONS = tuple(_OPTIONS)
"""The keys that are options too."""


def trading_options(role: str = "") -> list[Callable[[Any], Any]]:
    """The options, in order, of a server and of those who start one; help begins with `role`.

    None has a default: what nobody says is no rule.
    """
    options = []
    for key, settings in _OPTIONS.items():
        about = settings["help"]
        more: dict[str, Any] = {
            "envvar": f"WOOD_{key.upper()}",
            "show_envvar": True,
            "help": f"{role}: {about}" if role else about[0].upper() + about[1:],
        }
        if key in _LIMITS:
            more |= {"metavar": "N", "callback": _checked(partial(read_limit, word=key))}
        options.append(click.option("--" + key.replace("_", "-"), **settings | more))
    return options


def texts_in(settings: Mapping[str, Any]) -> dict[str, str]:
    """What options said, of all that were given."""
    return {key: str(settings[key]) for key in OPTIONS if settings.get(key) is not None}
