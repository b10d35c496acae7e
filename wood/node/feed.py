"""The public market: a fold of the journal, and the subscribers that it is told to.

A line is encoded once for all who understand its encoding, and a batch's lines are joined once for
all who want the same instruments (a `Channel`). The feed never waits for anybody: who cannot take a
batch at once falls behind (`Subscriber`).
"""

from wood.model.errors import ErrorCode
from wood.model.events import (
    Batch,
    CommandRefused,
    Event,
    LevelChanged,
    LoginRefused,
    Snapshot,
    StateChanged,
    Trade,
)
from wood.model.instruments import Instruments
from wood.model.orders import Side
from wood.node.public_book import PublicBook
from wood.node.subscriber import Channel, Key, LevelKey, Subscriber
from wood.wire.market_data import (
    BasicJson,
    MarketData,
    SubscribedJson,
    SubscribedPacked,
)

Register = dict[str, dict[MarketData, list[Channel]]]
"""Who is to be told of an instrument, by encoding."""

_RARE = frozenset({StateChanged, CommandRefused, LoginRefused})
"""All but levels and trades that the feed, or who counts with it, takes note of."""


class Feed:
    """A reader of the journal that tells its subscribers.

    Where there are several partitions it says which one it is of.
    """

    def __init__(self, instruments: Instruments, partition: str | None = None) -> None:
        self._partition = partition
        self.book = PublicBook()
        self.trades: list[Trade] = []
        """Those of the batch that was folded last."""
        self.refusals: list[ErrorCode] = []
        """The codes of those in the same batch."""
        self._encoders: dict[str, MarketData] = {
            "basic": BasicJson(instruments),
            "json": SubscribedJson(instruments),
            "msgpack": SubscribedPacked(instruments),
        }
        self._channels: dict[Key, Channel] = {}
        self._trades: Register = {symbol: {} for symbol in instruments}
        self._levels: Register = {symbol: {} for symbol in instruments}
        """Channels without a depth."""
        self._views: Register = {symbol: {} for symbol in instruments}
        """Channels with a depth."""
        self._viewers = 0  # their number

    def reset(self, snapshot: Snapshot) -> None:
        """Take over the books of `snapshot`; give them anew to everybody who is there."""
        halted = self.book.halted
        vanished = self.book.reset(snapshot)
        for channel in self._channels.values():
            seen = vanished if channel.depth is None else _levels(channel)
            channel.look()
            for subscriber in [*channel.live, *channel.behind]:
                subscriber.begin(channel, channel.symbols, seen, halted)
                subscriber.catch_up()

    def join(
        self,
        subscriber: Subscriber,
        encoding: str,
        symbols: tuple[str, ...],
        depth: int | None = None,
        *,
        held: bool = False,
    ) -> Channel:
        """Give `subscriber` the present books of `symbols`, in that order, then what follows.

        With a `depth` only so many of the best levels of each side. If `held` nothing of this
        before `Subscriber.release`.
        """
        key = (encoding, tuple(sorted(symbols)), depth)
        channel = self._channels.get(key)
        if channel is None:
            encoder = self._encoders[encoding]
            channel = Channel(key, encoder, self.book, self._partition)
            self._channels[key] = channel
            self._viewers += depth is not None
            for register in self._registers(channel):
                for symbol in symbols:
                    register[symbol].setdefault(channel.encoder, []).append(channel)
        subscriber.held = held
        subscriber.begin(channel, symbols)
        subscriber.catch_up()
        return channel

    def leave(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` nothing more."""
        channel = subscriber.channel
        if channel is None:
            return
        subscriber.channel = None
        channel.live.discard(subscriber)
        channel.behind.discard(subscriber)
        if not channel.live and not channel.behind:
            self._close(channel)

    def _close(self, channel: Channel) -> None:
        del self._channels[channel.key]
        self._viewers -= channel.depth is not None
        for register in self._registers(channel):
            for symbol in channel.symbols:
                channels = register[symbol][channel.encoder]
                channels.remove(channel)
                if not channels:
                    del register[symbol][channel.encoder]

    def _registers(self, channel: Channel) -> tuple[Register, Register]:
        return self._trades, self._levels if channel.depth is None else self._views

    def apply(self, batch: Batch) -> None:
        """Fold a batch and tell it, one write for each subscriber."""
        time, totals, levels, trades = batch.time, self.book.totals, self._levels, self._trades
        if batch.epoch != self.book.epoch:
            self._epoch_began(batch)
        self.trades = told = list[Trade]()
        self.refusals = []
        for event in batch.events:
            if type(event) is LevelChanged:
                symbol, side, price, total = event.symbol, event.side, event.price, event.quantity
                totals[symbol, side].set(price, total)
                for encoder, channels in levels[symbol].items():
                    line = encoder.level(symbol, side, price, total, event.seq)
                    for channel in channels:
                        channel.lines.append(line)
                        for subscriber in channel.behind:
                            subscriber.level_changed(symbol, side, price)
            elif type(event) is Trade:
                told.append(event)
                for encoder, channels in trades[event.symbol].items():
                    line = encoder.trade(event, time)
                    for channel in channels:
                        channel.lines.append(line)
                        for subscriber in channel.behind:
                            subscriber.traded(line)
            elif type(event) in _RARE:
                self._rare(event)
        self.book.epoch, self.book.seq = batch.epoch, batch.last
        if self._viewers:
            self._follow(batch)
        self._tell()

    def _rare(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self._state_changed(event)
        elif isinstance(event, CommandRefused | LoginRefused):
            self.refusals.append(event.code)

    def _state_changed(self, event: StateChanged) -> None:
        symbol, state = event.symbol, event.state
        self.book.state_changed(symbol, state)
        for encoder, channels in self._trades[symbol].items():
            line = encoder.state(symbol, state, event.seq, event.reason)
            if not line:
                continue
            for channel in channels:
                channel.lines.append(line)
                for subscriber in channel.behind:
                    subscriber.state_changed(line, symbol)

    def _epoch_began(self, batch: Batch) -> None:
        """Redis was started anew and lost nothing: who resumes later must know by which epoch."""
        for channel in self._channels.values():
            if channel.encoding != "basic":
                line = channel.epoch_began(batch.epoch, batch.first - 1)
                channel.lines.append(line)
                for subscriber in channel.behind:
                    subscriber.traded(line)

    def _follow(self, batch: Batch) -> None:
        """Tell the net change of the batch to those who see only the best levels."""
        changed: dict[tuple[str, Side], dict[int, None]] = {}
        for event in batch.events:
            if type(event) is LevelChanged:
                changed.setdefault((event.symbol, event.side), {})[event.price] = None
        for (symbol, side), prices in changed.items():
            for encoder, channels in self._views[symbol].items():
                for channel in channels:
                    for price, before, total in channel.views[symbol, side].follow(prices):
                        channel.lines.append(encoder.level(symbol, side, price, total, batch.last))
                        for subscriber in channel.behind:
                            subscriber.view_changed(symbol, side, price, before)

    def _tell(self) -> None:
        slow: list[Subscriber] = []
        for channel in self._channels.values():
            if channel.lines:
                data = b"".join(channel.lines)
                channel.lines.clear()
                slow += [subscriber for subscriber in channel.live if not subscriber.take(data)]
            slow += [subscriber for subscriber in channel.behind if subscriber.overflowed]
        for subscriber in slow:
            subscriber.fall_behind()


def _levels(channel: Channel) -> list[LevelKey]:
    """What the clients of a channel with a depth see."""
    return [
        (symbol, side, price)
        for (symbol, side), view in channel.views.items()
        for price in view.prices()
    ]
