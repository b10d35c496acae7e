"""The public market: a fold of the journal, and the subscribers that it is told to.

Subscribers who want the same thing share a `Channel`, so that each line is encoded once for all of
them. The feed never waits for anybody: who cannot take a batch at once falls behind (`Subscriber`).
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
        self._by_symbol: dict[str, list[Channel]] = {symbol: [] for symbol in instruments}

    def reset(self, snapshot: Snapshot) -> None:
        """Take over the books of `snapshot`."""
        self.book.reset(snapshot)

    def join(self, subscriber: Subscriber, key: Key) -> None:
        """Give `subscriber` the present books of `key` and then everything after them."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, self._encoders[key[0]], self.book)
            for symbol in key[1]:
                self._by_symbol[symbol].append(channel)
        subscriber.begin(channel)

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
                self._by_symbol[symbol].remove(channel)

    def apply(self, batch: Batch) -> None:
        """Fold a batch and tell it, one write for each subscriber."""
        time, totals = batch.time, self.book.totals
        for event in batch.events:
            if type(event) is LevelChanged:
                side, price, total = event.side, event.price, event.quantity
                totals[event.symbol, side].set(price, total)
                for channel in self._by_symbol[event.symbol]:
                    if channel.live:
                        channel.lines.append(
                            channel.encoder.level(event.symbol, side, price, total, event.seq)
                        )
                    for subscriber in channel.behind:
                        subscriber.level_changed(event.symbol, side, price)
            elif type(event) is Trade:
                for channel in self._by_symbol[event.symbol]:
                    line = channel.encoder.trade(event, time)
                    channel.lines.append(line)
                    for subscriber in channel.behind:
                        subscriber.traded(line)
        self.book.seq = batch.last
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
