"""What is asked about more keys than go into one query: all that are there are found, each once, over every backend."""

from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections
from tests.contracts.making import (
    ANNA,
    BEN,
    commit,
    new_session_id,
    new_slot_id,
    registration,
    session,
    slot,
)

MANY = 120


async def test_slots(catalog: Catalog) -> None:
    offered = [slot() for _ in range(MANY)]
    for one in offered:
        await catalog.add_slot(one)
    found = await catalog.slots({one.id for one in offered} | {new_slot_id()})
    assert sorted(found, key=lambda one: one.id) == sorted(offered, key=lambda one: one.id)
    assert await catalog.slots(set()) == []


async def test_booked_slots(bookings: Bookings) -> None:
    booked = {new_slot_id() for _ in range(MANY)}
    for slot_id in booked:
        for user in (ANNA, BEN):
            await bookings.add(registration(slot_id, user))
    assert await bookings.booked(booked | {new_slot_id() for _ in range(MANY)}) == booked


async def test_how_far_documents_are(projections: Projections) -> None:
    stored = {new_session_id(): seq for seq in range(1, MANY + 1)}
    await projections.write([session(session_id, seq=seq) for session_id, seq in stored.items()], [])
    assert await projections.seqs([*stored, new_session_id()]) == stored


async def test_commits(journal: Journal) -> None:
    commits = [commit(new_session_id()) for _ in range(MANY)]
    await journal.append(commits)
    ids = [one.id for one in commits]
    assert await journal.written([*ids, commit(new_session_id()).id]) == set(ids)
