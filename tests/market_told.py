"""`wood graylog` as a process, and what a journal says that it should have told."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.support import PATIENCE, ROOT, clean_environment, eventually
from wood.model.events import Batch, Trade
from wood.model.instruments import PARTITION

Place = tuple[str, int, int]
"""Partition, epoch and number: what tells one trade from any other."""


class MarketTeller:
    """`wood graylog`, which may be ended and started again."""

    def __init__(self, folder: Path, url: str, prefix: str, graylog: str, *options: str) -> None:
        self.log = folder / f"graylog-{os.urandom(4).hex()}.log"
        where = ["--redis", url, "--prefix", prefix, "--graylog", graylog]
        self._command = [sys.executable, "-m", "wood", "graylog", *where, *options]
        self.start()

    def start(self) -> None:
        """Start it, perhaps again; wait until it has begun."""
        before = self.text().count("telling Graylog")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stderr=log, cwd=ROOT, env=clean_environment()
            )
        begun = lambda: self.text().count("telling Graylog") > before or self.ended()  # noqa: E731
        eventually(begun, "a word of wood graylog")
        assert not self.ended(), self.text()

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text() if self.log.exists() else ""

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; the exit code."""
        if not self.ended():
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def trades_in(cluster: Cluster, *partitions: str) -> dict[Place, dict[str, Any]]:
    """What the journal says of each trade, in the words of GELF, prices in hundredths."""
    found: dict[Place, dict[str, Any]] = {}
    for name in partitions or (PARTITION,):
        found |= {
            (name, epoch, trade.seq): _words(trade)
            for epoch, trade in _trades(cluster.journal(name))
        }
    return found


def _trades(batches: Iterable[Batch]) -> Iterator[tuple[int, Trade]]:
    for batch in batches:
        for event in batch.events:
            if isinstance(event, Trade):
                yield batch.epoch, event


def _words(trade: Trade) -> dict[str, Any]:
    return {
        "_symbol": trade.symbol,
        "_price": trade.price / 100,
        "_quantity": trade.quantity,
        "_side": trade.side,
        "_participant": trade.taker,
        "_order_id": trade.taker_order_id,
        "_maker": trade.maker,
        "_maker_order_id": trade.maker_order_id,
    }


def told_in(messages: Iterable[dict[str, Any]]) -> dict[Place, dict[str, Any]]:
    """The trades among messages in the same words; who was told twice was told the same."""
    found: dict[Place, dict[str, Any]] = {}
    for message in messages:
        if message.get("_event") != "trade.executed":
            continue
        place = message["_partition"], message["_epoch"], message["_seq"]
        words = {key: message[key] for key in _KEYS}
        assert found.setdefault(place, words) == words
        assert abs(message["_value"] - message["_price"] * message["_quantity"]) < 1e-6
    return found


_KEYS = tuple(_words(Trade(1, "", 1, 1, "", "", 1, 0, "", 1, 0)))  # type: ignore[arg-type]
