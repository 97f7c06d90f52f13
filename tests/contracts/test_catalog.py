"""The port `Catalog`, sentence by sentence, over every backend."""

import asyncio
from datetime import timedelta

import pytest

from coordinator.domain.model import RegistrationStatus
from coordinator.ports.catalog import Catalog
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    MOMENT,
    NOON,
    full_slot,
    new_session_id,
    new_slot_id,
    registration,
    slot,
)


async def test_slots_come_back_as_they_were_stored(catalog: Catalog) -> None:
    plain, full = slot(), full_slot()
    await catalog.add_slot(plain)
    await catalog.add_slot(full)
    assert await catalog.slot(plain.id) == plain
    assert await catalog.slot(full.id) == full


async def test_an_unknown_slot_is_none(catalog: Catalog) -> None:
    assert await catalog.slot(new_slot_id()) is None


async def test_a_slot_is_stored_once(catalog: Catalog) -> None:
    first = slot()
    await catalog.add_slot(first)
    with pytest.raises(KeyError):
        await catalog.add_slot(slot(first.id, duration_minutes=45))
    assert await catalog.slot(first.id) == first


async def test_active_slots_lie_within_both_instants_earliest_first(catalog: Catalog) -> None:
    end = NOON + timedelta(minutes=10)
    early, first, middle, last, late = (
        slot(start_time=at) for at in (NOON - MOMENT, NOON, NOON + MOMENT, end, end + MOMENT)
    )
    inactive = slot(start_time=NOON + MOMENT, is_active=False)
    for item in (late, last, inactive, first, early, middle):
        await catalog.add_slot(item)
    assert await catalog.active_slots(NOON, end) == [first, middle, last]
    assert await catalog.active_slots(end + timedelta(days=1), end + timedelta(days=2)) == []


async def test_the_first_claim_wins_and_everyone_learns_of_it(catalog: Catalog) -> None:
    offered, session_id = slot(), new_session_id()
    await catalog.add_slot(offered)
    assert await catalog.claim_session(offered.id, session_id) == session_id
    assert await catalog.claim_session(offered.id, new_session_id()) == session_id
    assert await catalog.claim_session(offered.id, session_id) == session_id
    found = await catalog.slot(offered.id)
    assert found is not None
    assert found.session_id == session_id


async def test_a_claim_changes_nothing_else(catalog: Catalog) -> None:
    full = full_slot()
    await catalog.add_slot(full)
    assert await catalog.claim_session(full.id, new_session_id()) == full.session_id
    assert await catalog.slot(full.id) == full


async def test_among_simultaneous_claims_one_wins(catalog: Catalog) -> None:
    offered = slot()
    await catalog.add_slot(offered)
    claims = [new_session_id() for _ in range(50)]
    answers = await asyncio.gather(*(catalog.claim_session(offered.id, claim) for claim in claims))
    assert len(set(answers)) == 1
    assert answers[0] in claims
    found = await catalog.slot(offered.id)
    assert found is not None
    assert found.session_id == answers[0]


async def test_inactive_and_unknown_slots_cannot_be_claimed(catalog: Catalog) -> None:
    withdrawn, withdrawn_later = slot(is_active=False), slot(is_active=False, session_id=new_session_id())
    await catalog.add_slot(withdrawn)
    await catalog.add_slot(withdrawn_later)
    for slot_id in (withdrawn.id, withdrawn_later.id, new_slot_id()):
        assert await catalog.claim_session(slot_id, new_session_id()) is None
    assert await catalog.slot(withdrawn.id) == withdrawn
    assert await catalog.slot(withdrawn_later.id) == withdrawn_later


async def test_a_user_books_a_slot_once(catalog: Catalog) -> None:
    slot_id = new_slot_id()
    await catalog.add_registration(registration(slot_id))
    with pytest.raises(KeyError):
        await catalog.add_registration(registration(slot_id))
    await catalog.add_registration(registration(slot_id, BEN))
    await catalog.add_registration(registration(new_slot_id()))


async def test_among_simultaneous_bookings_of_a_user_one_is_stored(catalog: Catalog) -> None:
    slot_id = new_slot_id()
    bookings = [catalog.add_registration(registration(slot_id)) for _ in range(20)]
    outcomes = await asyncio.gather(*bookings, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, KeyError) for outcome in outcomes)


@pytest.mark.parametrize("status", list(RegistrationStatus))
async def test_only_registered_counts_as_registered(catalog: Catalog, status: RegistrationStatus) -> None:
    slot_id = new_slot_id()
    cancelled_at = NOON + MOMENT if status is RegistrationStatus.CANCELLED else None
    await catalog.add_registration(registration(slot_id, CLEO, status=status, cancelled_at=cancelled_at))
    is_registered = status is RegistrationStatus.REGISTERED
    assert await catalog.is_registered(slot_id, CLEO) is is_registered
    assert await catalog.booked({slot_id}) == ({slot_id} if is_registered else set())
    assert not await catalog.is_registered(slot_id, ANNA)
    assert not await catalog.is_registered(new_slot_id(), CLEO)


async def test_booked_names_those_of_the_slots_that_somebody_booked(catalog: Catalog) -> None:
    booked, twice, cancelled, empty, unasked = (new_slot_id() for _ in range(5))
    for item in (
        registration(booked, ANNA),
        registration(twice, ANNA),
        registration(twice, BEN, status=RegistrationStatus.CANCELLED),
        registration(twice, CLEO),
        registration(cancelled, ANNA, status=RegistrationStatus.CANCELLED),
        registration(unasked, ANNA),
    ):
        await catalog.add_registration(item)
    assert await catalog.booked({booked, twice, cancelled, empty}) == {booked, twice}
    assert await catalog.booked({empty, cancelled}) == set()
    assert await catalog.booked(set()) == set()
