"""The figures of a node for Prometheus: turned into text when somebody asks, and not before.

`wood_journal_...` is what all nodes of a cluster read alike, each since it started: take the
largest over the nodes, never the sum. `wood_node_...` is a node's own: to be added up, or looked at
by node.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from wood import __version__
from wood.exchange.exchange import Partition
from wood.exchange.vitals import Histogram, Vitals
from wood.model.errors import ErrorCode
from wood.model.instruments import Instrument
from wood.node.figures import Figures
from wood.node.meter import Meter, Traded

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The format that every Prometheus reads."""

_PARTITION = ("partition",)
_SYMBOL = ("partition", "symbol")


class Metrics(Collector):
    """A collector with a registry of its own: two nodes in one process share nothing."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> str:
        """All metrics as they are now."""
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        figures = self._figures
        labels = {
            "version": __version__,
            "python": platform.python_version(),
            "mode": figures.mode,
            "node": figures.name,
        }
        yield InfoMetricFamily("wood_build", "What runs here, and what it is called.", labels)
        yield from self._journal()
        yield from self._market()
        yield from self._engines()
        yield from self._node()

    # What all nodes see alike

    def _journal(self) -> Iterator[Metric]:
        yield self._count("wood_journal_batches", "Batches decided.", lambda m: m.batches)
        yield self._count("wood_journal_events", "Numbered events.", lambda m: m.events)
        yield self._now(
            "wood_journal_last_number", "Number of the last event.", lambda m: m.book.seq
        )
        yield self._now(
            "wood_journal_last_batch_timestamp_seconds",
            "When the last batch was decided, by the engine's clock; 0: none yet.",
            lambda m: m.time / 1e6,
        )
        refusals = CounterMetricFamily(
            "wood_journal_refusals",
            "Commands and logins refused, by the code of the answer.",
            labels=("partition", "code"),
        )
        for name, meter in self._figures.meters.items():
            for code in ErrorCode:
                refusals.add_metric((name, code.value), meter.refusals[code])
        yield refusals

    def _count(self, name: str, text: str, value: Callable[[Meter], float]) -> Metric:
        family = CounterMetricFamily(name, text, labels=_PARTITION)
        for partition, meter in self._figures.meters.items():
            family.add_metric((partition,), value(meter))
        return family

    def _now(self, name: str, text: str, value: Callable[[Meter], float]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=_PARTITION)
        for partition, meter in self._figures.meters.items():
            family.add_metric((partition,), value(meter))
        return family

    def _market(self) -> Iterator[Metric]:
        trades = CounterMetricFamily("wood_journal_trades", "Trades.", labels=_SYMBOL)
        volume = CounterMetricFamily("wood_journal_volume", "Quantity traded.", labels=_SYMBOL)
        value = CounterMetricFamily("wood_journal_value", "Price times quantity.", labels=_SYMBOL)
        price = GaugeMetricFamily(
            "wood_journal_last_price",
            "Price of the last trade seen; none, no value.",
            labels=_SYMBOL,
        )
        halted = GaugeMetricFamily("wood_journal_halted", "1 while halted.", labels=_SYMBOL)
        for labels, instrument, traded, meter in self._instruments():
            lot, tick = Decimal(instrument.lot), Decimal(instrument.tick)
            trades.add_metric(labels, traded.count)
            volume.add_metric(labels, float(traded.lots * lot))
            value.add_metric(labels, float(traded.value * tick * lot))
            halted.add_metric(labels, labels[1] in meter.book.halted)
            if traded.last is not None:
                price.add_metric(labels, float(traded.last * tick))
        yield from (trades, volume, value, price, halted)

    def _instruments(self) -> Iterator[tuple[tuple[str, str], Instrument, Traded, Meter]]:
        listed = self._figures.exchange.instruments
        for name, meter in self._figures.meters.items():
            for symbol, traded in meter.traded.items():
                yield (name, symbol), listed[symbol], traded, meter

    # This node's own

    def _engines(self) -> Iterator[Metric]:
        yield self._counted("commands", "Commands handed to the engine.", lambda v: v.commands)
        yield self._gauged("queue_depth", "Commands that wait for a decision.", lambda v: v.waiting)
        family = GaugeMetricFamily(
            "wood_node_queue_seconds",
            "How long the oldest command has waited for its answer; 0: none waits.",
            labels=_PARTITION,
        )
        for name, report in self._figures.report().partitions.items():
            family.add_metric((name,), report.waited)
        yield family
        yield self._timed("batch_size", "Commands decided together.", lambda v: v.batch_size)
        yield self._timed(
            "submit_seconds",
            "From when the first command of a batch was handed to the engine until the answers "
            "were written to the clients.",
            lambda v: v.submit,
        )
        lag = HistogramMetricFamily(
            "wood_node_feed_lag_seconds",
            "From when a batch was decided, by the engine's clock, until clients were sent it.",
            labels=_PARTITION,
        )
        for name, meter in self._figures.meters.items():
            _add(lag, name, meter.lag)
        yield lag
        if self._figures.mode == "redis":
            yield from self._redis()

    def _redis(self) -> Iterator[Metric]:
        yield self._gauged("redis_up", "1 while Redis answers.", lambda v: not v.away)
        yield self._timed("redis_seconds", "Round trips of batches to Redis.", lambda v: v.redis)
        yield self._counted("redis_outages", "Times that Redis went away.", lambda v: v.outages)
        yield self._counted(
            "gaps_filled",
            "Times that batches were missed, or came late, and were read.",
            lambda v: v.gaps,
        )
        yield self._counted(
            "resyncs", "Times that this node began again from a snapshot.", lambda v: v.resyncs
        )
        yield self._counted(
            "forks", "Times that Redis was found to have lost the journal's end.", lambda v: v.forks
        )
        unavailable = CounterMetricFamily(
            "wood_node_unavailable",
            "Commands refused because Redis could not be written to; the journal has none of them.",
            labels=_PARTITION,
        )
        for name, meter in self._figures.meters.items():
            unavailable.add_metric((name,), meter.unavailable)
        yield unavailable

    def _vitals(self) -> Iterable[tuple[str, Vitals]]:
        partitions: Iterable[tuple[str, Partition]] = self._figures.exchange.partitions.items()
        return ((name, partition.vitals) for name, partition in partitions)

    def _counted(self, name: str, text: str, value: Callable[[Vitals], float]) -> Metric:
        family = CounterMetricFamily(f"wood_node_{name}", text, labels=_PARTITION)
        for partition, vitals in self._vitals():
            family.add_metric((partition,), value(vitals))
        return family

    def _gauged(self, name: str, text: str, value: Callable[[Vitals], float]) -> Metric:
        family = GaugeMetricFamily(f"wood_node_{name}", text, labels=_PARTITION)
        for partition, vitals in self._vitals():
            family.add_metric((partition,), value(vitals))
        return family

    def _timed(self, name: str, text: str, value: Callable[[Vitals], Histogram]) -> Metric:
        family = HistogramMetricFamily(f"wood_node_{name}", text, labels=_PARTITION)
        for partition, vitals in self._vitals():
            _add(family, partition, value(vitals))
        return family

    def _node(self) -> Iterator[Metric]:
        figures, crowd = self._figures, self._figures.crowd()
        ready = figures.ready() is None
        yield GaugeMetricFamily("wood_node_ready", "1: new connections are welcome.", ready)
        sessions = GaugeMetricFamily(
            "wood_node_sessions",
            "Private connections, by whether they logged in.",
            labels=("login",),
        )
        sessions.add_metric(("yes",), crowd.named)
        sessions.add_metric(("no",), crowd.sessions - crowd.named)
        yield sessions
        yield GaugeMetricFamily("wood_node_subscribers", "Public connections.", crowd.subscribers)
        yield CounterMetricFamily(
            "wood_node_slow_clients_closed", "Clients closed as they did not read.", crowd.slow
        )
        yield CounterMetricFamily(
            "wood_node_connections_refused", "Connections not admitted.", crowd.refused
        )
        yield CounterMetricFamily(
            "wood_node_log_errors", "Records of the log that are errors.", figures.errors.count
        )
        lag = HistogramMetricFamily(
            "wood_node_event_loop_lag_seconds",
            "How late the event loop was with a call that was due, ten times a second.",
            labels=(),
        )
        lag.add_metric((), _buckets(figures.loop_lag.histogram), figures.loop_lag.histogram.sum)
        yield lag
        readers = GaugeMetricFamily(
            "wood_node_reader_behind", "Events that a reader is behind.", labels=("reader",)
        )
        for name, behind in figures.readers.items():
            readers.add_metric((name,), behind)
        yield readers


def _add(family: HistogramMetricFamily, partition: str, histogram: Histogram) -> None:
    family.add_metric((partition,), _buckets(histogram), histogram.sum)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Counts up to each bound, as Prometheus wants them: each includes those before."""
    total, buckets = 0, []
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(total)))
    return buckets
