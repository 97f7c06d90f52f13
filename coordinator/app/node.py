"""One node: services and transports put together over ports, started, and stopped in order."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from coordinator.app.outside import Ports
from coordinator.domain.ids import NodeId
from coordinator.services.background import BackgroundTasks, every
from coordinator.services.booking import Booking
from coordinator.services.consents import Consents
from coordinator.services.feed import Feed
from coordinator.services.following import LOOK_SECONDS, Following
from coordinator.services.measures import participants_present
from coordinator.services.moderation import Moderation
from coordinator.services.neighbours import BEATS_PER_TIMEOUT, LOOKS_PER_TIMEOUT, Neighbours
from coordinator.services.occurrences import Occurrences
from coordinator.services.offering import Offering
from coordinator.services.openings import Openings, SessionRules
from coordinator.services.overview import Overview
from coordinator.services.participation import Participation
from coordinator.services.projector import Projector
from coordinator.services.reader import Reader
from coordinator.services.recordings import Recordings
from coordinator.services.recovery import Recovery
from coordinator.services.retention import Retention
from coordinator.services.rooms import Rooms
from coordinator.services.settlement import Settlement
from coordinator.services.stopping import Stop
from coordinator.services.watching import Watching
from coordinator.settings import Settings
from coordinator.transports.rest.api import ApiServices, RestApi
from coordinator.transports.rest.ice_servers import IceSettings
from coordinator.transports.rest.metrics import Metrics, Sources
from coordinator.transports.rest.problems import connection_logger, problem_middleware
from coordinator.transports.socketio.fanout import Fanout
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.moderation import ModerationNamespace
from coordinator.transports.socketio.namespace import Surroundings
from coordinator.transports.socketio.recording import RecordingNamespace
from coordinator.transports.socketio.rooms import RoomsNamespace
from coordinator.transports.socketio.server import SocketServer
from coordinator.transports.web.demo import DemoRoutes, Issue
from coordinator.transports.web.pages import PageRoutes

_TICK_SECONDS = 1.0
"""How often slots are looked at: a session opens within 2 s of being due (SPEC section 2)."""
_OCCURRENCES_SECONDS = 10.0
"""How often it is looked whether a series needs another slot; they are made two weeks ahead."""
_RETENTION_SECONDS = 600.0
"""How often it is looked for sessions that have been kept long enough."""
_RECONNECT_AFTER_MS = (500, 2000)
"""How long clients are to wait before they come back from a server that stops: not all at once."""
_CLOSED_APART_SECONDS = 0.005
_ALL_CLOSED_SECONDS = 1.0
"""Nor are they closed all at once; how far apart, and when the last of them is, however many there are."""
# How long the steps of a stop may take. With a database that hangs it is 7 s together; none is tried for long then.
_CLOSING_SECONDS = 2.5
_REQUESTS_SECONDS = 1.0
_DEPARTURES_SECONDS = 2.0
_DOCUMENTS_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.02
_LAST_TRY_SECONDS = 0.5
_LOOPS_SECONDS = 0.5


class Coordinator:
    """One node: services and transports over `ports`, under `settings`.

    Args:
        ports: The outside world.
        settings: Everything that can be set.
        demo_issue: Signs tokens for whoever signs in by name; None, but in a demo.
    """

    def __init__(self, ports: Ports, settings: Settings, demo_issue: Issue | None = None) -> None:
        self.ports = ports
        self._demo_issue = demo_issue
        self.settings = settings
        self.node = NodeId(secrets.token_hex(6))
        self._loops = BackgroundTasks()
        self._errands = BackgroundTasks()
        self._projector = Projector(ports.projections, ports.clock)
        fanout = Fanout()
        self.rooms = Rooms(
            ports.journal,
            ports.clock,
            ports.ids,
            self._projector,
            fanout,
            self._errands,
            settings.limits.pending_commands,
        )
        self._neighbours = Neighbours(self.node, ports.liveness, ports.clock, settings.session.node_timeout_seconds)
        self._following = Following(self.rooms, ports.bus, ports.projections, self._neighbours, ports.clock)
        self.participation = Participation(
            self.rooms,
            self._following,
            ports.journal,
            ports.bookings,
            ports.clock,
            require_registration=settings.session.require_registration,
            replay_limit=settings.limits.replay_events,
        )
        self._watching = Watching(
            self.rooms,
            ports.journal,
            ports.clock,
            replay_limit=settings.limits.replay_events,
            most_sessions=settings.limits.watched_sessions,
        )
        self._overview = Overview(self.rooms, ports.projections, fanout, ports.clock, self._errands)
        self.settlement = Settlement(ports.catalog, ports.bookings, self.rooms, ports.clock, self._errands)
        self.rooms.on_ended(self.settlement.session_ended)
        self.openings = Openings(
            ports.catalog, ports.bookings, self.rooms, ports.clock, ports.ids, _rules(settings), self.settlement
        )
        self.recovery = Recovery(
            self._neighbours, self.rooms, ports.projections, self._following, ports.clock, self.settlement
        )
        self.reader = Reader(
            self.rooms, ports.journal, ports.projections, ports.bookings, lambda: self._neighbours.has_company
        )
        self.occurrences = Occurrences(ports.catalog, ports.bookings, self.settlement, ports.clock)
        self._moderation = Moderation(self.rooms)
        self._recordings = Recordings(self.rooms, self.reader, settings.recording.allowed_hosts)
        self.feed = Feed(
            ports.commit_stream,
            ports.consumers,
            ports.journal,
            ports.projections,
            self.rooms,
            ports.clock,
            self._loops,
        )
        self.retention = Retention(
            ports.journal, ports.projections, ports.consumers, ports.clock, settings.journal.retention_days
        )
        self._connections, self._sockets = self._make_sockets()
        self._api = self._make_api()

    def _make_api(self) -> RestApi:
        ports = self.ports
        services = ApiServices(
            offering=Offering(
                ports.catalog, ports.bookings, self.occurrences, self.settlement, self.reader, ports.clock
            ),
            booking=Booking(ports.catalog, ports.bookings, self.reader, ports.clock, ports.ids),
            reader=self.reader,
            moderation=self._moderation,
            recordings=self._recordings,
            consents=Consents(self.rooms, ports.journal, ports.projections, ports.clock),
        )
        return RestApi(
            services,
            tokens=ports.tokens,
            replies=ports.replies,
            clock=ports.clock,
            ids=ports.ids,
            checks=self._needed(),
            body_bytes=self.settings.limits.message_bytes,
            metrics=self._make_metrics(),
            ice=_ice_settings(self.settings),
        )

    def _needed(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Return what requests cannot be answered without, by name."""
        needed: dict[str, Callable[[], Awaitable[object]]] = {"database": self.ports.liveness.heartbeats}
        return needed if self.settings.redis.url is None else {**needed, "bus": self.ports.bus.ping}

    def _make_metrics(self) -> Metrics:
        counts, roads = self.rooms.counts, self._following.roads
        return Metrics(
            Sources(
                rooms=lambda: len(self.rooms.loaded),
                participants_present=lambda: participants_present(self.rooms.loaded, self.node),
                connections=self._connections.by_namespace,
                commits=lambda: counts.commits,
                events=lambda: counts.events,
                conflicts=lambda: counts.conflicts,
                commits_heard=lambda: roads.heard,
                catch_ups=lambda: roads.catch_ups,
                bus_up=lambda: None if self.settings.redis.url is None else self.ports.bus.is_up,
                pending_commands=lambda: counts.waiting,
                lags=self.feed.lags,
            )
        )

    def _make_sockets(self) -> tuple[Connections, SocketServer]:
        limits = _socket_limits(self.settings)
        clock = self.ports.clock
        connections = Connections(self.node, self.ports.tokens, clock, limits, self._errands.start)
        surroundings = Surroundings(connections, clock, self._errands.start)
        server = SocketServer(
            connections,
            (
                RoomsNamespace(surroundings, self.participation, limits.signal_bytes),
                ModerationNamespace(surroundings, self._moderation, self._watching, self._overview),
                RecordingNamespace(surroundings, self.feed, self._recordings),
            ),
            limits,
            clock,
            self.settings.server.cors_origins,
            websocket_only=self.settings.server.workers > 1,
        )
        return connections, server

    def web_application(self) -> web.Application:
        """Return the aiohttp application: Socket.IO, HTTP and pages."""
        app = web.Application(middlewares=[problem_middleware])
        app.add_routes(self._api.routes())
        app.add_routes(DemoRoutes(self._demo_issue).routes())
        app.add_routes(PageRoutes().routes())
        self._sockets.attach(app)
        return app

    async def start(self) -> None:
        """Take up what was left, then work on time from here on.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach.
        """
        clock = self.ports.clock
        self._loops.start(self.rooms.write(), "group commit")
        self._loops.start(self._projector.run(), "projections")
        self._loops.start(self._following.listen(), "bus")
        self._loops.start(self._following.catch_up(), "catching up")
        await self.recovery.start()
        await self.openings.open_missed()
        await self.recovery.go_on()
        await self.settlement.settle_missed()
        await self.occurrences.make_due()
        timeout = self.settings.session.node_timeout_seconds
        beats, looks = timeout / BEATS_PER_TIMEOUT, timeout / LOOKS_PER_TIMEOUT
        self._loops.start(every(clock, _TICK_SECONDS, self.openings.open_due, "openings"), "openings")
        self._loops.start(every(clock, _TICK_SECONDS, self.settlement.settle_due, "settlement"), "settlement")
        self._loops.start(every(clock, _OCCURRENCES_SECONDS, self.occurrences.make_due, "occurrences"), "occurrences")
        self._loops.start(every(clock, _TICK_SECONDS, self.recovery.sweep, "sweep"), "sweep")
        self._loops.start(every(clock, _TICK_SECONDS, self._overview.look, "overview"), "overview")
        self._loops.start(self.feed.run(), "feed")
        self._loops.start(every(clock, _RETENTION_SECONDS, self.retention.sweep, "retention"), "retention")
        self._loops.start(every(clock, LOOK_SECONDS, self._following.look, "following"), "following")
        self._loops.start(every(clock, beats, self.recovery.beat, "heartbeat"), "heartbeat")
        self._loops.start(every(clock, looks, self.recovery.look, "neighbours"), "neighbours")

    async def drain(self, stop: Stop) -> None:
        """Let nobody in any more, tell everyone, and let them go one after the other; they come back elsewhere."""
        self._api.health.drain()
        self._sockets.drain(_reconnect_after_ms)
        closing = self._sockets.close_all(_CLOSED_APART_SECONDS, _ALL_CLOSED_SECONDS)
        await asyncio.gather(
            stop.step("closing connections", _CLOSING_SECONDS, closing),
            stop.step("consumers' last acks: what they had acked comes again", _CLOSING_SECONDS, self.feed.stop()),
        )

    async def stop(self, stop: Stop) -> None:
        """Write down that everyone is gone, and stop. Call `drain` before."""
        departures = "departures: another node, or the next start, lets them go"
        all_departed = await stop.step(departures, _DEPARTURES_SECONDS, self._departures())
        await stop.step("what ran beside", _LOOPS_SECONDS, self._errands.stop())
        patience = _DOCUMENTS_SECONDS if all_departed else _LAST_TRY_SECONDS
        await stop.step("documents: they are late until their sessions are loaded again", patience, self._documents())
        await stop.step("loops", _LOOPS_SECONDS, self._loops.stop())
        if all_departed:  # otherwise the silence of this node is what tells others
            await stop.step("farewell: others take this node for lost", _LAST_TRY_SECONDS, self.recovery.stop())

    async def _departures(self) -> None:
        await self._sockets.answered()
        if not await self._errands.wait_idle(_DEPARTURES_SECONDS):
            raise TimeoutError

    async def _documents(self) -> None:
        await self._projector.flush()
        while any(room.projected_seq < room.seq for room in self.rooms.loaded):
            await self.ports.clock.sleep(_LOOK_AGAIN_SECONDS)  # the projector's loop is still writing them


def _reconnect_after_ms() -> int:
    least, most = _RECONNECT_AFTER_MS
    return least + secrets.randbelow(most - least + 1)


def _rules(settings: Settings) -> SessionRules:
    return SessionRules(
        lobby_minutes=settings.session.lobby_minutes,
        no_show_minutes=settings.session.no_show_minutes,
        empty_timeout_seconds=settings.session.empty_timeout_seconds,
        reconnect_grace_seconds=settings.session.reconnect_grace_seconds,
    )


def _ice_settings(settings: Settings) -> IceSettings:
    return IceSettings(**{name: getattr(settings.webrtc, name) for name in settings.webrtc.__struct_fields__})


def _socket_limits(settings: Settings) -> SocketLimits:
    limits = settings.limits
    return SocketLimits(**{name: getattr(limits, name) for name in SocketLimits.__struct_fields__})


@asynccontextmanager
async def running(coordinator: Coordinator) -> AsyncIterator[str]:
    """Run a coordinator and its web server; gives the address at which it answers.

    However it is left, it stops as planned, in some 8 seconds at most, and says what it had to leave undone.
    """
    settings = coordinator.settings.server
    is_one_of_several = settings.workers > 1
    # Encoded bodies are refused, not decoded: decoding would come before any limit of ours.
    runner = web.AppRunner(
        coordinator.web_application(),
        access_log=None,
        shutdown_timeout=0.5,
        auto_decompress=False,
        logger=connection_logger(),
    )
    stop = Stop()
    try:
        await coordinator.start()
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port, reuse_port=is_one_of_several or None)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        # Others take who comes now; alone, it goes on to answer that it is about to stop.
        for listening in list(runner.sites) if is_one_of_several else ():
            await listening.stop()
        await coordinator.drain(stop)
        await stop.step("requests", _REQUESTS_SECONDS, runner.cleanup())
        await coordinator.stop(stop)
        stop.tell()
