"""`/metrics`: what this process counts and sees, in the text format of Prometheus (SPEC section 4).

Owns names and form. The numbers come from whoever counts them, are read when somebody asks, and cost nothing between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from coordinator.domain.errors import UnavailableError
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.protocol.requests import NoBody, Parameters
from coordinator.services.feed import ConsumerLag
from coordinator.transports.rest.operations import Answer, Call, Operation, Outcome, Tag

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE_SECONDS = 2.0
"""How long the database may take; whoever scrapes gives up after ten seconds by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers come from. Each is asked whenever somebody asks for the metrics.

    Attributes:
        rooms: Sessions in memory.
        participants_present: Participants who are connected to this process.
        connections: Open connections by namespace.
        commits: Commits that this process has written.
        events: Events in them.
        conflicts: Commits that met one of another process, and were decided again.
        commits_heard: Commits of other processes that were taken from the bus.
        catch_ups: Times that a journal was read because commits of other processes might have been missed.
        bus_up: Whether the bus is connected; None where there is none.
        pending_commands: Commands that wait to become durable.
        lags: How far each consumer of the feed is behind; the one question that goes to the database.
    """

    rooms: Callable[[], int]
    participants_present: Callable[[], int]
    connections: Callable[[], Mapping[str, int]]
    commits: Callable[[], int]
    events: Callable[[], int]
    conflicts: Callable[[], int]
    commits_heard: Callable[[], int]
    catch_ups: Callable[[], int]
    bus_up: Callable[[], bool | None]
    pending_commands: Callable[[], int]
    lags: Callable[[], Awaitable[Sequence[ConsumerLag]]]


class Metrics:
    """The metrics of one coordinator; any number of them may live in one process."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._process)

    async def text(self) -> bytes:
        """Return all metrics; without those of consumers while the database is out of reach."""
        registry = CollectorRegistry()
        registry.register(_Snapshot([*self._counted(), *_of_consumers(await self._lags())]))
        return generate_latest(registry) + generate_latest(self._process)

    async def _lags(self) -> Sequence[ConsumerLag]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._sources.lags()
        except (UnavailableError, OutcomeUnknownError, TimeoutError):
            return []

    def _counted(self) -> Iterable[Metric]:
        ask = self._sources
        yield _gauge("rooms", "Sessions that this process holds in memory.", ask.rooms())
        yield _gauge(
            "participants_present", "Participants who are connected to this process.", ask.participants_present()
        )
        connections = GaugeMetricFamily("coordinator_connections", "Open connections.", labels=["namespace"])
        for namespace, count in sorted(ask.connections().items()):
            connections.add_metric([namespace], count)
        yield connections
        yield _gauge("pending_commands", "Commands that wait to become durable.", ask.pending_commands())
        yield _counter("commits", "Commits that this process has made durable.", ask.commits())
        yield _counter("events", "Events in these commits.", ask.events())
        yield _counter("commit_conflicts", "Commits that met one of another process.", ask.conflicts())
        yield _counter("commits_heard", "Commits of other processes that arrived on the bus.", ask.commits_heard())
        yield _counter("catch_ups", "Journals read because commits of others might be missing.", ask.catch_ups())
        if (bus_up := ask.bus_up()) is not None:
            yield _gauge("bus_up", "Whether the bus between processes is connected.", int(bus_up))


class _Snapshot:
    """A collector of what has been read already: reading takes waiting, which collectors cannot do."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._metrics


class MetricOperations:
    """What can be asked about this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="GET",
                path="/metrics",
                name="getMetrics",
                summary="Read what this process counts",
                tag=Tag.SYSTEM,
                handler=self.metrics,
                parameters=Parameters,
                body=NoBody,
                roles=None,
                outcomes={
                    HTTPStatus.OK: Outcome(
                        meaning="Metrics in the text format of Prometheus.", view=None, content_type=_CONTENT_TYPE
                    )
                },
            )
        ]

    async def metrics(self, _call: Call[Parameters, NoBody]) -> Answer:
        """Read the metrics of this process. While the database is out of reach, those of consumers are left out."""
        return Answer(content=await self._metrics.text())


def _of_consumers(lags: Sequence[ConsumerLag]) -> Iterable[Metric]:
    numbers: list[tuple[str, str, Callable[[ConsumerLag], float]]] = [
        (
            "lag_seconds",
            "Since when a consumer has not acked everything that was durable then.",
            lambda lag: lag.seconds,
        ),
        ("unacked", "Records on their way to a consumer, from this process.", lambda lag: lag.unacked),
        ("connected", "Whether a consumer is connected to this process.", lambda lag: lag.is_connected),
    ]
    for name, meaning, number in numbers:
        family = GaugeMetricFamily(f"coordinator_feed_consumer_{name}", meaning, labels=["consumer"])
        for lag in lags:
            family.add_metric([lag.name], number(lag))
        yield family


def _gauge(name: str, meaning: str, number: float) -> Metric:
    return GaugeMetricFamily(f"coordinator_{name}", meaning, value=number)


def _counter(name: str, meaning: str, number: float) -> Metric:
    return CounterMetricFamily(f"coordinator_{name}", meaning, value=number)
