"""Documents that cannot be read, put in past the validators: they must not keep the others from being seen."""

from datetime import timedelta
from typing import Any

import pytest
import structlog.testing
from bson import ObjectId
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import (
    registration_document,
    series_document,
    session_document,
    slot_document,
)
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.domain.model import Recurrence
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.catalog import SlotQuery
from coordinator.ports.projections import SessionQuery
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    NOON,
    new_session_id,
    new_slot_id,
    registration,
    series,
    session,
    slot,
)

Raw = SyncDatabase[dict[str, Any]]


def put_in(raw: Raw, collection: str, document: dict[str, Any], without: str) -> None:
    damaged = {name: value for name, value in document.items() if name != without} | {"_id": ObjectId()}
    raw[collection].insert_one(damaged, bypass_document_validation=True)


@pytest.fixture
def catalog(database: Database) -> MongoCatalog:
    return MongoCatalog(database)


async def test_slots(catalog: MongoCatalog, raw: Raw) -> None:
    first = slot(recurrence=Recurrence.DAILY, settle_at=NOON)
    second = slot(start_time=NOON + timedelta(minutes=1), recurrence=Recurrence.DAILY, settle_at=NOON)
    await catalog.add_slot(first)
    for _ in range(3):
        put_in(raw, "timeslots", slot_document(first), without="createdAt")
    await catalog.add_slot(second)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert await catalog.active_slots(NOON, NOON + timedelta(hours=1)) == [first, second]
            assert await catalog.page(SlotQuery(start_from=NOON)) == [first, second]
            assert await catalog.page(SlotQuery(start_from=NOON, limit=2)) == [first, second]
            assert await catalog.page(SlotQuery(start_from=NOON, limit=1)) == [first]
            assert {item.id for item in await catalog.unsettled(NOON, 10)} == {first.id, second.id}
            assert {item.id for item in await catalog.slots_to_adopt(10)} == {first.id, second.id}
    assert [entry["event"] for entry in logs] == ["document_unreadable"] * 3
    assert {entry["collection"] for entry in logs} == {"timeslots"}


async def test_series(catalog: MongoCatalog, raw: Raw) -> None:
    sound = series(next_start=NOON)
    await catalog.add_series(sound)
    put_in(raw, "series", series_document(sound), without="anchor")
    assert await catalog.due_series(NOON, 10) == [sound]


async def test_registrations(database: Database, raw: Raw) -> None:
    bookings, slot_id = MongoBookings(database), new_slot_id()
    first, damaged, second = (registration(slot_id, user) for user in (ANNA, BEN, CLEO))
    await bookings.add(first)
    put_in(raw, "registrations", registration_document(damaged), without="registeredAt")
    await bookings.add(second)
    for limit in (2, 3):
        found = await bookings.page(RegistrationQuery(slot_id=slot_id, limit=limit))
        assert {item.id for item in found} == {first.id, second.id}
    # Whoever holds a seat holds it, readable or not: here nothing may be passed over.
    with pytest.raises(ValueError, match="registeredAt"):
        await bookings.holders(slot_id)


async def test_live_sessions(database: Database, raw: Raw) -> None:
    projections, sound = MongoProjections(database), session(new_session_id())
    await projections.write([sound], [])
    put_in(raw, "sessions", session_document(sound), without="level")
    assert await projections.page(SessionQuery(status=sound.status)) == [sound]
    assert await projections.page(SessionQuery(status=sound.status, limit=1)) == [sound]
