"""The feed as plain lines, for pipes and files: words that any tool can split at the spaces.

bid 145 300
ask 149.5 0
trade 145 100 2016-04-27T13:32:30.458236Z
state halted
"""

from datetime import UTC, datetime

from wood.tools.watch.feed import Level, Message, StateTold, Trade


def plain_line(message: Message) -> str:
    """The line for `message`; empty if it is neither a level nor a trade nor a state."""
    if isinstance(message, Level):
        return f"{message.side} {message.price:f} {message.quantity:f}"
    if isinstance(message, Trade):
        return f"trade {message.price:f} {message.quantity:f} {_utc(message.time)}"
    if isinstance(message, StateTold):
        return f"state {message.state}"
    return ""


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
