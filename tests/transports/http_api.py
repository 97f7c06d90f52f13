"""The whole HTTP API on a real server, over services whose database is memory and whose clock stands still.

Owns asking and looking at what is stored; knows nothing of what is right. The start of the world is `START`.
"""

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
import structlog.testing
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace
from yarl import URL

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.memory.replies import MemoryReplies
from coordinator.domain.commands import AttachRecording, SetRecording
from coordinator.domain.events import Actor, Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.feed import ConsumerLag
from coordinator.services.measures import participants_present
from coordinator.services.occurrences import Occurrences
from coordinator.services.offering import Offering
from coordinator.transports.rest.api import ApiServices, RestApi
from coordinator.transports.rest.metrics import Metrics, Sources
from coordinator.transports.rest.problems import problem_middleware
from tests.services.harness import World
from tests.transports.harness import SECRET, Answer

BODY_BYTES = 4096
PREFIX = "/api/v1"
RECORDED = "https://eu.r2.cloudflarestorage.com/ada.webm"
RECORDER = Actor(user_id=UserId("rec"), role=Role.RECORDER)


class Counts:
    """Numbers that come from parts of a coordinator which are not here."""

    def __init__(self) -> None:
        self.connections: dict[str, int] = {}
        self.commits = self.events = self.conflicts = self.pending = self.heard = self.catch_ups = 0
        self.bus_up: bool | None = None
        self.lags: list[ConsumerLag] = []


class HttpApi:
    """The API and everything that a test does with it.

    Attributes:
        world: What is behind it.
        node: The services.
        rest: The API itself.
        replies: Where it keeps answers to requests with a key.
        counts: What is not counted here, for `/metrics`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.node = node = world.node("a0")
        self.replies = MemoryReplies()
        self.counts = Counts()
        self.tokens = Hs256Tokens(SECRET, clock=world.clock)
        self.occurrences = Occurrences(world.catalog, world.bookings, node.settlement, world.clock)
        self.offering = Offering(
            world.catalog, world.bookings, self.occurrences, node.settlement, node.reader, world.clock
        )
        self.rest = RestApi(
            ApiServices(
                offering=self.offering,
                booking=node.booking,
                reader=node.reader,
                moderation=node.moderation,
                recordings=node.recordings,
                consents=node.consents,
            ),
            tokens=self.tokens,
            replies=self.replies,
            clock=world.clock,
            ids=node.ids,
            checks={"database": world.liveness.heartbeats},
            body_bytes=BODY_BYTES,
            metrics=Metrics(self._sources()),
        )
        self.app = web.Application(middlewares=[problem_middleware])
        self.app.add_routes(self.rest.routes())
        self.server = TestServer(self.app)
        self.http = aiohttp.ClientSession()

    def _sources(self) -> Sources:
        return Sources(
            rooms=lambda: len(self.node.rooms.loaded),
            participants_present=lambda: participants_present(self.node.rooms.loaded, self.node.id),
            connections=lambda: self.counts.connections,
            commits=lambda: self.counts.commits,
            events=lambda: self.counts.events,
            conflicts=lambda: self.counts.conflicts,
            commits_heard=lambda: self.counts.heard,
            catch_ups=lambda: self.counts.catch_ups,
            bus_up=lambda: self.counts.bus_up,
            pending_commands=lambda: self.counts.pending,
            lags=self._lags,
        )

    async def _lags(self) -> Sequence[ConsumerLag]:
        await self.world.liveness.heartbeats()  # which may be told not to answer
        return self.counts.lags

    # Asking.

    def token(self, user: str, role: Role) -> str:
        return self.tokens.issue(user, role, 600)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "root",
        role: Role = Role.ADMIN,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Make a request with a JSON body, or with one of bytes, or with none; `path` comes after `/api/v1`."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if not any(name == "Authorization" for name, _ in pairs):
            pairs.append(("Authorization", f"Bearer {self.token(user, role)}"))
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        if body is not None and not any(name == "Content-Type" for name, _ in pairs):
            pairs.append(("Content-Type", "application/json"))
        return await self.send(method, PREFIX + path, body, pairs)

    async def send(
        self, method: str, path: str, body: bytes | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """Make a request exactly as it is given."""
        url = URL(str(self.server.make_url("/")).rstrip("/") + path, encoded=True)
        async with self.http.request(
            method, url, data=body, headers=headers, skip_auto_headers=["Content-Type"], allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    # Making.

    async def offer(self, **fields: Any) -> str:
        """Offer a slot in ten days over HTTP; return its id."""
        answer = await self.call("POST", "/time-slots", terms(self.world, **fields))
        assert answer.status == 201, answer
        return str(answer.json["id"])

    async def session(self, *users: str) -> SessionId:
        """Open a session that has started, with these users in it, all of whom consent; recording is on."""
        ids = [UserId(user) for user in users]
        session = await self.world.open_session(self.node, ids, start=self.world.clock.now())
        for client in await self.node.joined(session, *ids):
            await client.consent(True)
        await self.node.do(session, SetRecording(actor=RECORDER, enabled=True))
        await self.world.settle()
        return session

    async def record(self, session: SessionId, user: str, url: str = RECORDED) -> None:
        """Attach a recording of a user that began now."""
        command = AttachRecording(actor=RECORDER, user_id=UserId(user), url=url, start_time=self.world.clock.now())
        await self.node.do(session, command)

    # Looking.

    def stored(self) -> dict[str, str]:
        """Everything that is stored, except replies, in a form that can be compared."""
        stores = (self.world.catalog, self.world.bookings, self.world.journal)
        return {type(store).__name__: repr(sorted(vars(store).items())) for store in stores}

    # Meddling.

    def silence(self) -> None:
        """Let the database answer nothing from here on."""
        self.node.line.is_cut = True
        for store in (
            self.world.catalog,
            self.world.bookings,
            self.world.projections,
            self.world.liveness,
            self.replies,
        ):
            for name, _ in inspect.getmembers(store, inspect.iscoroutinefunction):
                setattr(store, name, _no_answer)

    async def touch(self, slot_id: str) -> None:
        """Let time pass, and somebody else change a slot."""
        await self.world.clock.advance(1)
        slot = await self.world.catalog.slot(SlotId(slot_id))
        assert slot is not None
        later = replace(slot, max_participants=slot.max_participants + 1, updated_at=self.world.clock.now())
        assert await self.world.catalog.change_slot(later, slot.updated_at, unopened=True)


async def _no_answer(*_args: object, **_kwargs: object) -> None:
    raise OutcomeUnknownError("the test's database was told not to answer")


def moment(world: World, **after: float) -> str:
    """An instant on the wire, that long after now: `moment(world, days=10)`."""
    return wire_time(world.clock.now() + timedelta(**after))


def terms(world: World, **fields: Any) -> dict[str, Any]:
    """The body of an offer: a slot in ten days, half an hour of French."""
    offered = {
        "targetLanguageCode": "fr",
        "level": "B1",
        "startTime": moment(world, days=10),
        "durationMinutes": 30,
    }
    return offered | fields


def check_problem(answer: Answer, status: int, code: str, field: str | None = None) -> None:
    """Check that an answer is an RFC 9457 problem with our code, and nothing else."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem.keys() - {"field"} == {"type", "title", "status", "detail", "code", "retryable"}
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field), problem
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["retryable"] is (status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE))
    check_headers(answer)


def check_headers(answer: Answer) -> None:
    """Check the headers that every answer has."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def pages(api: HttpApi, path: str, limit: int, **who: Any) -> list[Any]:
    """Follow the cursors of a list to its end; return all items, after checking that no page is too long."""
    items: list[Any] = []
    cursor = ""
    while True:
        answer = await api.call("GET", f"{path}limit={limit}{cursor}", **who)
        assert answer.status == 200, answer
        assert len(answer.json["items"]) <= limit
        items += answer.json["items"]
        if "next" not in answer.json:
            return items
        assert len(answer.json["items"]) == limit
        cursor = f"&cursor={answer.json['next']}"


@asynccontextmanager
async def running_api() -> AsyncIterator[HttpApi]:
    """Run the API; nothing may be logged as an error."""
    with structlog.testing.capture_logs() as logs:
        api = HttpApi(World(logs))
        await api.server.start_server(auto_decompress=False)
        try:
            yield api
        finally:
            await api.http.close()
            await api.server.close()
            await api.world.close()
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
