"""Limits as an operator writes them: `250`, `0.5`, or `none`."""

from typing import Any

import click

from wood.model.decimals import parse_decimal
from wood.model.errors import ConfigError, Refusal
from wood.model.limits import NONE, Limits

NO_LIMIT = "none"
DEFAULT = "default"

FIELDS = {
    "max_rate": "rate",
    "max_open_orders": "open_orders",
    "max_order_quantity": "order_quantity",
    "max_order_value": "order_value",
    "max_position": "position",
}
"""The words for an operator, and the fields of `Limits`."""


def read_limit(text: str, word: str) -> float:
    """The limit that `text` says, for the field that operators call `word`. Raises `ConfigError`.

    Decimals are those of the wire, and never infinite: what is no limit is called so.
    """
    if text == NO_LIMIT:
        return NONE
    try:
        parse_decimal(text, "a limit")
    except Refusal as refusal:
        raise ConfigError(f"{refusal.text}, or the word {NO_LIMIT}, not {text!r}") from None
    limit = float(text)
    if limit == NONE:
        raise ConfigError(f"a limit of {text} cannot be: for no limit write {NO_LIMIT}")
    Limits(**{FIELDS[word]: limit}).check()
    return limit


def limit_text(limit: float) -> str:
    """The same for people."""
    return NO_LIMIT if limit == NONE else f"{limit:.15g}"


class LimitType(click.ParamType[Any]):
    """A participant's own limit: a number, `none`, or `default`, which takes it away."""

    name = "limit"

    def __init__(self, word: str) -> None:
        self._word = word

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "OwnLimit":
        """`value` as a limit. Fails as click's own types do."""
        if isinstance(value, OwnLimit):
            return value
        try:
            return OwnLimit(None if value == DEFAULT else read_limit(value, self._word))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class OwnLimit:
    """What a participant's own limit becomes; None takes it away.

    Not None itself, which is an option that was not given.
    """

    def __init__(self, value: float | None) -> None:
        self.value = value
