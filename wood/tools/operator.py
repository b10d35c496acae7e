"""What an operator does through the private port: cancels for others, halts, resumes."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec import DecodeError, Struct, json

from wood.model.errors import WoodError
from wood.model.orders import State
from wood.model.text import printable
from wood.tools.connection import lost, open_connection
from wood.tools.errors import UnexpectedReply

PATIENCE = 60.0
"""Seconds for one answer; a login after some that failed is answered late on purpose."""

MOST = 500
"""Characters of a refusal that are shown to the person."""


class Refused(WoodError):
    """The server refused; the text is one line, and ends with the code."""


@dataclass(frozen=True)
class Operator:
    """Who acts, and where: a private port. Without a token a certificate in `tls` has to do.

    `patience` is in seconds for one answer.
    """

    host: str
    port: int
    name: str
    token: str | None = field(repr=False)
    tls: ssl.SSLContext | None = None
    patience: float = PATIENCE


async def cancel_participant(operator: Operator, participant: str) -> int:
    """Cancel all orders of `participant`; how many they were. Raises `WoodError`."""
    dialogue = await _Dialogue.begin(operator)
    try:
        return await dialogue.cancel_all({"participant": participant})
    finally:
        await dialogue.end()


async def cancel_anonymous(operator: Operator, older_than: int) -> int:
    """Cancel the orders of anonymous participants who came more than so many seconds ago.

    Returns how many they were. Raises `WoodError`, which tells how many were cancelled before.
    """
    dialogue = await _Dialogue.begin(operator)
    total = 0
    try:
        # A server cancels some thousand at a time, so that the market does not stand still.
        while count := await dialogue.cancel_all({"anonymousOlderThan": older_than}):
            total += count
    except WoodError as error:
        if not total:
            raise
        were = "was" if total == 1 else "were"
        raise WoodError(f"{error}; {orders(total)} {were} cancelled before") from None
    finally:
        await dialogue.end()
    return total


async def change_state(
    operator: Operator, symbols: Sequence[str], state: State
) -> AsyncGenerator[str, None]:
    """Halt `symbols`, or let them go on, one after the other; gives each once it is done.

    One that is refused keeps none of the others. Raises `WoodError` in the end, which names them;
    those that were given have changed nevertheless.
    """
    dialogue = await _Dialogue.begin(operator)
    refused = []
    try:
        for symbol in symbols:
            try:
                await dialogue.change_state(symbol, state)
            except Refused as error:
                refused.append(f"{symbol}: {error}")
            else:
                yield symbol
        if refused:
            raise Refused("; ".join(refused))
    finally:
        await dialogue.end()


def orders(count: int) -> str:
    """So many orders, in words."""
    return f"{count} order" if count == 1 else f"{count} orders"


class _Reply(Struct, rename="camel"):
    """What is looked at of what the server says; market data has a `type`."""

    message: str = ""
    error: str | None = None
    code: str = "no code"
    canceled: int | None = None
    symbol: str | None = None
    state: str | None = None
    type: object = None


class _Dialogue:
    """Questions and answers, one at a time; whatever else the server says is passed over."""

    def __init__(
        self,
        where: tuple[str, int],
        patience: float,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._where = where
        self._patience = patience
        self._reader = reader
        self._writer = writer

    @classmethod
    async def begin(cls, operator: Operator) -> "_Dialogue":
        """Connect and log in. Raises `WoodError`, as all that follows does."""
        where = operator.host, operator.port
        streams = await open_connection(*where, tls=operator.tls)
        dialogue = cls(where, operator.patience, *streams)
        try:
            proof = {} if operator.token is None else {"token": operator.token}
            await dialogue._ask("login", participant=operator.name, **proof)
        except BaseException:
            await dialogue.end()
            raise
        return dialogue

    async def cancel_all(self, whose: dict[str, object]) -> int:
        """Cancel what `whose` says; how many orders it was."""
        reply = await self._ask("cancelAll", **whose)
        if reply.canceled is None or reply.canceled < 0:
            raise UnexpectedReply("the server did not say how many orders it cancelled")
        return reply.canceled

    async def change_state(self, symbol: str, state: State) -> None:
        """Have `symbol` in `state`."""
        reply = await self._ask("halt" if state is State.HALTED else "resume", symbol=symbol)
        if (reply.symbol, reply.state) != (symbol, state):
            raise UnexpectedReply(f"the server did not say that {symbol} is {state}")

    async def end(self) -> None:
        """Close the connection, whatever became of it."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _ask(self, message: str, **values: object) -> _Reply:
        try:
            line = json.encode({"message": message, **values}) + b"\n"
        except UnicodeEncodeError:
            text = "a name, a token or a symbol is text in UTF-8; this one is not"
            raise WoodError(text) from None
        try:
            async with asyncio.timeout(self._patience):
                self._writer.write(line)
                await self._writer.drain()
                while (reply := await self._next()).message != message:
                    if reply.error is not None:
                        why = f"{reply.error[:MOST]} ({reply.code[:MOST]})"
                        raise Refused(f"the server refuses: {printable(why)}")
                return reply
        except TimeoutError:
            host, port = self._where
            raise WoodError(
                f"the server at {host}:{port} did not answer within {self._patience:g} seconds"
            ) from None
        except OSError:
            raise lost(*self._where) from None

    async def _next(self) -> _Reply:
        host, port = self._where
        try:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise lost(host, port)
            reply = json.decode(line, type=_Reply)
        except (DecodeError, ValueError):  # the latter for a line without an end
            raise UnexpectedReply(f"what answers at {host}:{port} is no exchange") from None
        if reply.type is not None:
            raise UnexpectedReply(f"{host}:{port} is a public port: give the private one with -p")
        return reply
