"""The public market: a fold of the journal, and the subscribers that it is told to.

A line is encoded once for all who understand its encoding, and a batch's lines are joined once for
all who want the same instruments (a `Channel`). The feed never waits for anybody: who cannot take a
batch at once falls behind (`Subscriber`).
"""

from wood.model.events import Batch, LevelChanged, Snapshot, Trade
from wood.model.instruments import Instruments
from wood.node.public_book import PublicBook
from wood.node.subscriber import Channel, Key, Subscriber
from wood.wire.market_data import BasicJson, MarketData, SubscribedJson, SubscribedPacked


class Feed:
    """A reader of the journal that tells its subscribers."""

    def __init__(self, instruments: Instruments) -> None:
        self.book = PublicBook()
        self._encoders: dict[str, MarketData] = {
            "basic": BasicJson(instruments),
            "json": SubscribedJson(instruments),
            "msgpack": SubscribedPacked(instruments),
        }
        self._channels: dict[Key, Channel] = {}
        self._by_symbol: dict[str, dict[MarketData, list[Channel]]] = {
            symbol: {} for symbol in instruments
        }

    def reset(self, snapshot: Snapshot) -> None:
        """Take over the books of `snapshot`; give them anew to everybody who is there."""
        vanished = self.book.reset(snapshot)
        for channel in self._channels.values():
            for subscriber in [*channel.live, *channel.behind]:
                subscriber.begin(channel, channel.symbols, vanished)
                subscriber.catch_up()

    def join(self, subscriber: Subscriber, encoding: str, symbols: tuple[str, ...]) -> None:
        """Give `subscriber` the present books of `symbols`, in that order, then what follows."""
        key = (encoding, tuple(sorted(symbols)))
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, self._encoders[encoding], self.book)
            for symbol in symbols:
                self._by_symbol[symbol].setdefault(channel.encoder, []).append(channel)
        subscriber.begin(channel, symbols)
        subscriber.catch_up()

    def leave(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` nothing more."""
        channel = subscriber.channel
        if channel is None:
            return
        subscriber.channel = None
        channel.live.discard(subscriber)
        channel.behind.discard(subscriber)
        if not channel.live and not channel.behind:
            del self._channels[channel.key]
            for symbol in channel.symbols:
                channels = self._by_symbol[symbol][channel.encoder]
                channels.remove(channel)
                if not channels:
                    del self._by_symbol[symbol][channel.encoder]

    def apply(self, batch: Batch) -> None:
        """Fold a batch and tell it, one write for each subscriber."""
        time, totals, by_symbol = batch.time, self.book.totals, self._by_symbol
        for event in batch.events:
            if type(event) is LevelChanged:
                symbol, side, price, total = event.symbol, event.side, event.price, event.quantity
                totals[symbol, side].set(price, total)
                for encoder, channels in by_symbol[symbol].items():
                    line = encoder.level(symbol, side, price, total, event.seq)
                    for channel in channels:
                        channel.lines.append(line)
                        for subscriber in channel.behind:
                            subscriber.level_changed(symbol, side, price)
            elif type(event) is Trade:
                for encoder, channels in by_symbol[event.symbol].items():
                    line = encoder.trade(event, time)
                    for channel in channels:
                        channel.lines.append(line)
                        for subscriber in channel.behind:
                            subscriber.traded(line)
        self.book.epoch, self.book.seq = batch.epoch, batch.last
        self._tell()

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
