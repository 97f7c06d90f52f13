"""Sessions to be in: offered to the coordinator through its database, or just named for the peers; and who joins them.

Owns slots, registrations, tokens and the generator's file of clients.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.documents import registration_document, slot_document
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot

_TOKEN_SECONDS = 24 * 3600
_PATIENCE_SECONDS = 120
_AT_ONCE = 500
_ROOMS_AT_ONCE = 100
"""Rooms offered at the same time: what the coordinator asks about them has to be answered within its patience."""
DURATION_MINUTES = 45


@dataclass(frozen=True)
class Company:
    """Rooms and who is in them.

    Attributes:
        rooms: How many.
        seats: Participants in each.
        observers: Moderators who watch each.
        first: The number of the first room: users are called after their room.
    """

    rooms: int
    seats: int
    observers: int = 0
    first: int = 0

    @property
    def clients(self) -> int:
        """Everyone."""
        return self.rooms * (self.seats + self.observers)

    def users(self, number: int) -> list[str]:
        """Return the participants of a room."""
        return [f"user-{self.first + number}-{seat}" for seat in range(self.seats)]


def slots_for(company: Company) -> tuple[list[TimeSlot], list[Registration]]:
    """Make slots that start at once, with everyone registered."""
    ids, now = ObjectIds(), SystemClock().now()
    slots: list[TimeSlot] = []
    registrations: list[Registration] = []
    for number in range(company.rooms):
        slot = TimeSlot(
            id=SlotId(ids.new_id()),
            target_language_code=Language.ENGLISH,
            level=Level.B2,
            start_time=now + timedelta(seconds=1),
            duration_minutes=DURATION_MINUTES,
            max_participants=max(2, company.seats),
            is_active=True,
            created_at=now,
            updated_at=now,
            registered_count=company.seats,
        )
        slots.append(slot)
        registrations += [
            Registration(
                id=ids.new_id(),
                time_slot_id=slot.id,
                user_id=UserId(user),
                status=RegistrationStatus.REGISTERED,
                registered_at=now,
            )
            for user in company.users(number)
        ]
    return slots, registrations


async def offer(url: str, database_name: str, company: Company) -> list[str]:
    """Put slots into the database of a running coordinator; return their sessions once they are open."""
    slots, registrations = slots_for(company)
    database = connect(url, database_name, timeout_seconds=30)
    try:
        documents = [registration_document(registration) for registration in registrations]
        for start in range(0, len(documents), _AT_ONCE):
            await database.registrations.insert_many(documents[start : start + _AT_ONCE], ordered=False)
        sessions: list[str] = []
        for start in range(0, len(slots), _ROOMS_AT_ONCE):
            some = slots[start : start + _ROOMS_AT_ONCE]
            await database.timeslots.insert_many([slot_document(slot) for slot in some], ordered=False)
            sessions += await opened(database, [slot.id for slot in some])
        return sessions
    finally:
        await database.close()


async def opened(database: Database, slots: Sequence[SlotId]) -> list[str]:
    """Return the sessions of these slots, once another process has opened them.

    Raises:
        TimeoutError: It has not, for a long time.
    """
    catalog, projections = MongoCatalog(database), MongoProjections(database)
    wanted = set(slots)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            found = {slot.id: slot.session_id for slot in await catalog.slots(wanted)}
            sessions = [session for slot in slots if (session := found.get(slot)) is not None]
            if len(sessions) == len(slots) and len(await projections.seqs(set(sessions))) == len(slots):
                return [str(session) for session in sessions]
            await asyncio.sleep(0.1)  # another process opens them, and tells nobody


def name_sessions(company: Company) -> list[str]:
    """Return ids for sessions that need not be offered."""
    return [secrets.token_hex(12) for _ in range(company.rooms)]


def write_clients(path: Path, port: int, sessions: Sequence[str], company: Company, secret: str) -> Path:
    """Write the generator's file: the participants of each room, then those who watch it."""
    tokens = Hs256Tokens(secret, clock=SystemClock())
    lines = []
    for number, session in enumerate(sessions):
        for seat, user in enumerate(company.users(number)):
            token = tokens.issue(user, Role.PARTICIPANT, ttl_seconds=_TOKEN_SECONDS)
            lines.append(f"{port}\t/rooms\tactive\t{number}\t{seat}\t{session}\t{token}\n")
    for number, session in enumerate(sessions):
        for place in range(company.observers):
            user = f"moderator-{company.first + number}-{place}"
            token = tokens.issue(user, Role.MODERATOR, ttl_seconds=_TOKEN_SECONDS)
            lines.append(f"{port}\t/moderation\tobserver\t{number}\t{company.seats + place}\t{session}\t{token}\n")
    path.write_text("".join(lines), encoding="ascii")
    return path
