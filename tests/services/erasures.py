"""A world in which much is known of Anna, and someone who erases her."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from coordinator.domain.events import Actor, Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.ledger import find_flaws
from coordinator.domain.model import Recording
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.projections import SessionQuery
from coordinator.services.booking import Booking
from coordinator.services.erasure import Erased, Erasure
from coordinator.services.reader import Reader
from tests.domain.story import ANNA, BEN, CLEO, END_IT, RECORDER, START, URL, consent, minutes, record, remove
from tests.services.desks import Meddler
from tests.services.faults import Course, Watched
from tests.services.harness import Node, World, soon

TOMORROW = START + timedelta(days=1)
SPOKEN = "anna, be kind"


class Past:
    """What there is when Anna asks to be forgotten.

    Attributes:
        attended: A session in which she consented, was recorded, and was removed.
        moderated: A session in which she only acted, as a moderator.
        other: A session that has nothing to do with her.
        coming: A slot that she is registered for.
    """

    def __init__(self, attended: SessionId, moderated: SessionId, other: SessionId, coming: SlotId) -> None:
        self.attended = attended
        self.moderated = moderated
        self.other = other
        self.coming = coming

    @property
    def sessions(self) -> list[SessionId]:
        return [self.attended, self.moderated, self.other]


async def a_past(world: World, node: Node) -> Past:
    attended, moderated, other = [await world.open_session(node, [ANNA, BEN, CLEO]) for _ in range(3)]
    anna, ben = await node.joined(attended, ANNA, BEN)
    await node.joined(moderated, BEN, CLEO)
    await node.joined(other, BEN, CLEO)
    as_moderator = Actor(user_id=ANNA, role=Role.MODERATOR)
    await world.at(minutes(1))
    consents = [consent(client.user_id, via=client.connection_id) for client in (anna, ben)]
    await soon(node.do(attended, *consents, record()))
    await world.at(minutes(2))
    await soon(node.recordings.attach(RECORDER, attended, recording_of(ANNA)))
    await soon(node.do(attended, remove(ANNA, SPOKEN)))
    for session in (attended, other):
        await soon(node.do(session, END_IT))
    await soon(node.do(moderated, replace(record(), actor=as_moderator), replace(END_IT, actor=as_moderator)))
    coming = await world.slot(start=TOMORROW)
    for user in (ANNA, BEN):
        await soon(node.booking.register(coming, user))
    await world.clock.advance(1)
    return Past(attended, moderated, other, coming)


def recording_of(user: UserId) -> Recording:
    return Recording(user_id=user, url=URL.replace("anna", user), start_time=START + minutes(1.5))


class _JournalMeddler(Meddler):
    def session_ids(self) -> AsyncIterator[SessionId]:
        found: AsyncIterator[SessionId] = self._store.session_ids()  # type: ignore[attr-defined]
        return found


class Eraser:
    """A process of its own that erases users.

    Attributes:
        course: All its calls to the stores.
        journal: Where something can be done before one of its calls.
        projections: Likewise.
        erasure: The service.
    """

    def __init__(self, world: World, node: Node) -> None:
        self.course = Course()
        self.journal = _JournalMeddler(Watched(world.journal, self.course))
        self.projections = Meddler(Watched(world.projections, self.course))
        journal: Any = self.journal
        projections: Any = self.projections
        bookings: Any = Watched(world.bookings, self.course)
        catalog: Any = Watched(world.catalog, self.course)
        reader = Reader(node.rooms, journal, projections, bookings, lambda: True)
        booking = Booking(catalog, bookings, reader, world.clock, node.ids)
        self.erasure = Erasure(journal, projections, bookings, booking, world.clock, node.ids)


async def erase(world: World, node: Node, user: UserId = ANNA) -> Erased:
    return await soon(Eraser(world, node).erasure.erase(user))


async def everything(world: World, sessions: list[SessionId]) -> dict[str, Any]:
    """All that is stored, as plain data."""
    slots = [(await world.found(slot)) for slot in world.catalog._slots]
    return {
        "journal": {session: await world.journal.stored(session) for session in sessions},
        "sessions": msgspec.to_builtins(await world.projections.page(SessionQuery())),
        "participants": {
            session: msgspec.to_builtins(await world.projections.participants(session)) for session in sessions
        },
        "registrations": [
            msgspec.to_builtins(item)
            for slot in slots
            for item in await world.bookings.page(RegistrationQuery(slot_id=slot.id, limit=1000))
        ],
        "counts": {slot.id: slot.registered_count for slot in slots},
    }


async def assert_proved(world: World, sessions: list[SessionId]) -> None:
    for session in sessions:
        assert find_flaws(session, await world.journal.stored(session)) == []
