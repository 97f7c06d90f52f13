"""A running coordinator for a test: the real thing over a database of its own, listening on a free port.

Owns starting it, offering slots, tokens, looking at what is stored, and waiting for it. Knows nothing of what is right.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar, overload

import aiohttp
import msgspec
from bson import ObjectId
from pymongo.database import Database
from yarl import URL

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.system import SystemClock
from coordinator.app import Coordinator, make_tokens, mongo_ports, running
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.ledger import find_flaws
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot
from coordinator.settings import load_settings
from tests.database import client, fresh_database, server_url
from tests.transports.clients import MODERATION, NAMESPACE, PATIENCE_SECONDS, RECORDING, RawClient, RoomClient

SECRET = "a secret for tests, longer than thirty-two bytes"
UNLIMITED = {
    "limits.commands_per_second": 1_000_000,
    "limits.command_burst": 1_000_000,
    "limits.signals_per_second": 1_000_000,
    "limits.signal_burst": 1_000_000,
    "limits.acks_per_second": 1_000_000,
    "limits.ack_burst": 1_000_000,
}
"""Settings for tests that are faster than people."""

Document = dict[str, Any]
T = TypeVar("T")


@overload
async def eventually(look: Callable[[], Awaitable[T | None]], what: str) -> T: ...
@overload
async def eventually(look: Callable[[], T | None], what: str) -> T: ...
async def eventually(look: Callable[[], Any], what: str) -> Any:
    """Look again and again until something other than None (or False) is seen; return it."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = look()
                if isinstance(seen, Awaitable):
                    seen = await seen
                if seen is not None and seen is not False:
                    return seen
                await asyncio.sleep(0.01)  # what is looked at is a database or a socket, which cannot call back
    except TimeoutError:
        raise AssertionError(f"not seen in time: {what}") from None


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)


class Items(msgspec.Struct):
    """A page of events, each of them as the bytes that were sent."""

    items: list[msgspec.Raw]
    next: int | None = None


class Offer(NamedTuple):
    """A slot with its open session."""

    slot: TimeSlot
    session_id: str


class Live:
    """One running coordinator and everything that a test does with it.

    Attributes:
        address: Where it answers.
        coordinator: The node itself.
        database: Its database, for looking and meddling.
        clients: Every ordinary client so far.
    """

    def __init__(
        self,
        address: str,
        coordinator: Coordinator,
        database: "Database[Document]",
        http: aiohttp.ClientSession,
        cleanup: AsyncExitStack,
    ) -> None:
        self.address = address
        self.coordinator = coordinator
        self.database = database
        self.clients: list[RoomClient] = []
        self._http = http
        self._cleanup = cleanup
        self._tokens: Hs256Tokens = make_tokens(coordinator.settings, SystemClock())

    def take(self, road: str) -> None:
        """From now on, serve those who come with a WebSocket by the road "direct" (as always) or "ordinary"."""
        if road == "ordinary":
            self.coordinator._sockets.ordinary.eio.direct = None

    @asynccontextmanager
    async def another(self) -> AsyncIterator["Live"]:
        """Run another coordinator over the same database."""
        other = Coordinator(self.coordinator.ports, self.coordinator.settings)
        async with running(other) as address, AsyncExitStack() as cleanup:
            yield Live(address, other, self.database, self._http, cleanup)

    # Offering.

    async def offer_slot(
        self, *users: str, starts_in: float = 3600.0, min_participants: int = 2, max_participants: int = 8
    ) -> TimeSlot:
        """Offer a slot that starts that many seconds from now, with these users registered."""
        ports = self.coordinator.ports
        now = ports.clock.now()
        slot = TimeSlot(
            id=SlotId(ports.ids.new_id()),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            start_time=now + timedelta(milliseconds=round(starts_in * 1000)),
            duration_minutes=15,
            is_active=True,
            created_at=now,
            updated_at=now,
            min_participants=min_participants,
            max_participants=max_participants,
            registered_count=len(users),
        )
        await ports.catalog.add_slot(slot)
        for user in users:
            await self.register(slot, user)
        return slot

    async def register(self, slot: TimeSlot, user: str) -> None:
        """Register a user for a slot."""
        ports = self.coordinator.ports
        registration = Registration(
            id=ports.ids.new_id(),
            time_slot_id=slot.id,
            user_id=UserId(user),
            status=RegistrationStatus.REGISTERED,
            registered_at=ports.clock.now(),
        )
        await ports.bookings.add(registration)

    async def session_of(self, slot: TimeSlot) -> str:
        """Return the session of a slot as soon as its document is there."""

        def look() -> str | None:
            document = self.database.sessions.find_one({"timeSlotId": ObjectId(slot.id)})
            return None if document is None else str(document["_id"])

        return await eventually(look, "the slot's session")

    async def offer(
        self,
        *users: str,
        starts_in: float = -1.0,
        min_participants: int = 2,
        max_participants: int = 8,
    ) -> Offer:
        """Offer a slot, started a second ago unless told, and open its session at once instead of within 2 s."""
        slot = await self.offer_slot(
            *users, starts_in=starts_in, min_participants=min_participants, max_participants=max_participants
        )
        await self.coordinator.openings.open_due()
        return Offer(slot, await self.session_of(slot))

    # Connecting.

    def token(self, user: str, role: Role = Role.PARTICIPANT, ttl: float = 600.0) -> str:
        """Make a token."""
        return self._tokens.issue(user, role, ttl)

    async def connect(
        self,
        user: str,
        *,
        auth: Any = None,
        ttl: float = 600.0,
        transports: tuple[str, ...] = ("websocket",),
        namespace: str = NAMESPACE,
        role: Role = Role.PARTICIPANT,
    ) -> RoomClient:
        """Connect a user on the ordinary client; it is closed after the test."""
        room_client = RoomClient(user, namespace)
        self.clients.append(room_client)
        self._cleanup.push_async_callback(room_client.close)
        await room_client.connect(self.address, auth or {"token": self.token(user, role, ttl)}, transports)
        return room_client

    async def moderator(self, user: str = "mona", **options: Any) -> RoomClient:
        """Connect a moderator."""
        return await self.connect(user, namespace=MODERATION, role=Role.MODERATOR, **options)

    async def recorder(self, user: str = "rec", **options: Any) -> RoomClient:
        """Connect a recorder."""
        return await self.connect(user, namespace=RECORDING, role=Role.RECORDER, **options)

    async def join(self, user: str, session_id: str, after: int | None = None) -> RoomClient:
        """Connect a user and join; the ack is in its arrivals."""
        room_client = await self.connect(user)
        reply = await room_client.join(session_id, after)
        assert reply["ok"], reply
        return room_client

    async def raw(self, user: str | None = None, compress: int = 0) -> RawClient:
        """Open a client that speaks by hand, connected to `/rooms` if a user is given; closed after the test."""
        raw_client = RawClient(user or "nobody")
        self._cleanup.push_async_callback(raw_client.close)
        await raw_client.open(self.address, compress)
        if user is not None:
            answer = await raw_client.connect({"token": self.token(user)})
            assert answer.startswith('40/rooms,{"sid":'), answer
        return raw_client

    async def get(self, path: str, token: str | None = None, **query: Any) -> Answer:
        """Read an address; with the token of an admin unless another is given ("" for none)."""
        return await self.request("GET", path, token, **query)

    async def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        **query: Any,
    ) -> Answer:
        """Make a request, as `get`; a `body` is sent as JSON."""
        bearer = self.token("root", Role.ADMIN) if token is None else token
        sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        url = URL(self.address + path, encoded="%" in path).update_query(query)
        async with self._http.request(method, url, headers=sent | dict(headers or {}), json=body) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    # Looking.

    async def journal(self, session_id: str) -> list[bytes]:
        """Return all events of a session over HTTP, as bytes, after checking the stored chain."""
        assert find_flaws(session_id, await self.coordinator.ports.journal.stored(SessionId(session_id))) == []
        events: list[bytes] = []
        after: int | None = 0
        while after is not None:
            answer = await self.get(f"/api/v1/sessions/{session_id}/events", after=after, limit=1000)
            assert answer.status == 200, answer
            page = msgspec.json.decode(answer.body, type=Items)
            events += [bytes(item) for item in page.items]
            after = page.next
        return events

    def session(self, session_id: str) -> Document | None:
        """Return a session's document."""
        return self.database.sessions.find_one({"_id": ObjectId(session_id)})

    def participants(self, session_id: str) -> dict[str, Document]:
        """Return the documents of a session's participants by user."""
        found = self.database.participants.find({"sessionId": ObjectId(session_id)})
        return {document["userId"]: document for document in found}

    def commits(self, session_id: str) -> list[Document]:
        """Return the documents of a session's journal, in order."""
        return list(self.database.events.find({"sessionId": ObjectId(session_id)}).sort("seq", 1))

    async def stored_at(self, session_id: str, seq: int) -> Document:
        """Return a session's document once it has reached that `seq`; it follows its events within 100 ms."""

        def look() -> Document | None:
            document = self.session(session_id)
            return document if document is not None and document["seq"] >= seq else None

        return await eventually(look, f"the session's document at {seq}")


@asynccontextmanager
async def running_live(overrides: Mapping[str, object] | None = None, url: str | None = None) -> AsyncIterator[Live]:
    """Run a coordinator over a fresh database; `overrides` are settings under dotted names."""
    with fresh_database() as name:
        flags: dict[str, object] = {
            "server.port": 0,
            "mongo.url": url or server_url(),
            "mongo.database": name,
            "auth.secret": SECRET,
            **(overrides or {}),
        }
        settings = load_settings(files=(), environ={}, flags=flags)
        async with mongo_ports(settings, str(flags["mongo.url"])) as ports:
            coordinator = Coordinator(ports, settings)
            async with running(coordinator) as address, aiohttp.ClientSession() as http, AsyncExitStack() as cleanup:
                yield Live(address, coordinator, client()[name], http, cleanup)


def utc(text: str) -> datetime:
    """Read a time as it stands on the wire: RFC 3339 with milliseconds and `Z`, nothing else."""
    assert text[-5] == "." and text.endswith("Z"), text  # noqa: PT018 - one form, two marks of it
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
