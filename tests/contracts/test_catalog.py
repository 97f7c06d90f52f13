"""The port `Catalog`, sentence by sentence, over every backend: single slots. Pages and series have their own files."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SlotId
from coordinator.domain.model import Language, Level, Recurrence, TimeSlot
from coordinator.ports.catalog import EDITABLE, Catalog, Claim
from tests.contracts.claiming import claim
from tests.contracts.making import MOMENT, NOON, full_slot, new_session_id, new_slot_id, slot

LATER = NOON + timedelta(days=1)


async def stored(catalog: Catalog, *items: TimeSlot) -> None:
    for item in items:
        await catalog.add_slot(item)


async def read(catalog: Catalog, slot_id: SlotId) -> TimeSlot:
    found = await catalog.slot(slot_id)
    assert found is not None
    return found


async def test_slots_come_back_as_they_were_stored(catalog: Catalog) -> None:
    plain, full = slot(), full_slot()
    await stored(catalog, plain, full)
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


async def test_those_of_the_slots_that_exist_are_returned(catalog: Catalog) -> None:
    wanted, unasked = [slot(), full_slot(), slot(is_active=False)], slot()
    await stored(catalog, *wanted, unasked)
    found = await catalog.slots({new_slot_id(), *(item.id for item in wanted)})
    assert sorted(found, key=lambda item: item.id) == wanted
    assert await catalog.slots({new_slot_id()}) == []
    assert await catalog.slots(set()) == []


async def test_active_slots_lie_within_both_instants_earliest_first(catalog: Catalog) -> None:
    end = NOON + timedelta(minutes=10)
    early, first, middle, last, late = (
        slot(start_time=at) for at in (NOON - MOMENT, NOON, NOON + MOMENT, end, end + MOMENT)
    )
    inactive = slot(start_time=NOON + MOMENT, is_active=False)
    await stored(catalog, late, last, inactive, first, early, middle)
    assert await catalog.active_slots(NOON, end) == [first, middle, last]
    assert await catalog.active_slots(end + timedelta(days=1), end + timedelta(days=2)) == []


CHANGES: dict[str, Any] = {
    "target_language_code": Language.ENGLISH,
    "level": Level.A1,
    "start_time": NOON + timedelta(hours=1),
    "duration_minutes": 15,
    "max_participants": 5,
    "min_participants": 4,
    "timezone": "Europe/Paris",
    "is_active": False,
    "updated_at": NOON,
}


def test_every_field_that_can_be_edited_is_edited_here() -> None:
    assert set(CHANGES) == set(EDITABLE)


async def test_a_change_writes_what_can_be_edited_and_nothing_else(catalog: Catalog) -> None:
    for before in (slot(), full_slot()):
        await catalog.add_slot(before)
        elsewhere = {
            "created_at": NOON,
            "recurrence": Recurrence.DAILY,
            "series_id": new_slot_id(),
            "series_number": 8,
            "session_id": new_session_id(),
            "registered_count": 9,
        }
        wanted = replace(before, **CHANGES, **elsewhere, settle_at=None)
        assert await catalog.change_slot(wanted, before.updated_at, unopened=False)
        assert await catalog.slot(before.id) == replace(before, **CHANGES)


async def test_a_change_may_set_when_to_settle(catalog: Catalog) -> None:
    for before in (slot(), full_slot()):
        await catalog.add_slot(before)
        changes = {"is_active": False, "updated_at": NOON, "settle_at": NOON + MOMENT}
        wanted = replace(before, **changes)
        assert await catalog.change_slot(wanted, before.updated_at, unopened=False)
        assert await catalog.slot(before.id) == wanted


async def test_a_change_made_from_another_version_is_not_written(catalog: Catalog) -> None:
    before = slot()
    await catalog.add_slot(before)
    wanted = replace(before, level=Level.A1, updated_at=NOON)
    for expected in (before.updated_at - MOMENT, before.updated_at + MOMENT, NOON):
        assert not await catalog.change_slot(wanted, expected, unopened=False)
        assert await catalog.slot(before.id) == before
    assert not await catalog.change_slot(slot(), before.updated_at, unopened=False)


async def test_among_simultaneous_changes_of_a_version_one_is_written(catalog: Catalog) -> None:
    before = slot()
    await catalog.add_slot(before)
    wanted = [replace(before, max_participants=10 + n, updated_at=NOON + n * MOMENT) for n in range(20)]
    outcomes = await asyncio.gather(
        *(catalog.change_slot(item, before.updated_at, unopened=bool(n % 2)) for n, item in enumerate(wanted))
    )
    assert sum(outcomes) == 1
    assert await catalog.slot(before.id) == wanted[outcomes.index(True)]


async def test_a_slot_with_a_session_is_changed_only_where_that_is_allowed(catalog: Catalog) -> None:
    opened = slot(session_id=new_session_id())
    await catalog.add_slot(opened)
    wanted = replace(opened, is_active=False, updated_at=NOON)
    assert not await catalog.change_slot(wanted, opened.updated_at, unopened=True)
    assert await catalog.slot(opened.id) == opened
    assert await catalog.change_slot(wanted, opened.updated_at, unopened=False)
    assert await catalog.slot(opened.id) == wanted


async def test_either_the_session_is_claimed_or_the_slot_is_changed(catalog: Catalog) -> None:
    for _ in range(10):
        before, session_id = slot(), new_session_id()
        await catalog.add_slot(before)
        after = replace(before, start_time=LATER, updated_at=NOON)
        changed, claimed = await asyncio.gather(
            catalog.change_slot(after, before.updated_at, unopened=True), claim(catalog, before, session_id)
        )
        assert claimed == (None if changed else replace(before, session_id=session_id, settle_at=before.end_time))
        assert await catalog.slot(before.id) == (after if changed else claimed)


async def test_a_slot_that_was_edited_since_it_was_read_is_not_claimed(catalog: Catalog) -> None:
    before = slot()
    await catalog.add_slot(before)
    after = replace(before, start_time=LATER, updated_at=NOON)
    assert await catalog.change_slot(after, before.updated_at, unopened=True)
    assert await claim(catalog, before, new_session_id()) is None
    assert await catalog.slot(before.id) == after
    claimed = await claim(catalog, after, new_session_id())
    assert claimed is not None
    assert claimed.settle_at == after.end_time
    assert await claim(catalog, before, new_session_id()) == claimed


async def test_the_count_is_set_if_it_is_what_is_expected(catalog: Catalog) -> None:
    offered = slot()
    await catalog.add_slot(offered)
    assert not await catalog.set_registered_count(offered.id, 1, 2)
    assert await catalog.set_registered_count(offered.id, 0, 3)
    assert not await catalog.set_registered_count(offered.id, 0, 4)
    assert await catalog.slot(offered.id) == replace(offered, registered_count=3)
    assert await catalog.set_registered_count(offered.id, 3, 3)
    assert await catalog.set_registered_count(offered.id, 3, 0)
    assert await catalog.slot(offered.id) == offered
    assert not await catalog.set_registered_count(new_slot_id(), 0, 1)


@pytest.mark.parametrize("count", [0, 7])
async def test_among_simultaneous_counts_one_is_set(catalog: Catalog, count: int) -> None:
    offered = slot(registered_count=count)
    await catalog.add_slot(offered)
    outcomes = await asyncio.gather(*(catalog.set_registered_count(offered.id, count, 10 + n) for n in range(20)))
    assert sum(outcomes) == 1
    assert (await read(catalog, offered.id)).registered_count == 10 + outcomes.index(True)


async def test_the_first_claim_wins_and_everyone_learns_of_it(catalog: Catalog) -> None:
    offered, session_id = slot(), new_session_id()
    await catalog.add_slot(offered)
    claimed = replace(offered, session_id=session_id, settle_at=offered.end_time)
    for wanted in (session_id, new_session_id(), session_id):
        assert await claim(catalog, offered, wanted) == claimed
    assert await catalog.slot(offered.id) == claimed


async def test_a_claim_changes_nothing_else(catalog: Catalog) -> None:
    full = full_slot()
    await catalog.add_slot(full)
    assert await claim(catalog, full, new_session_id()) == full
    assert await catalog.slot(full.id) == full


async def test_a_claim_that_comes_after_the_settling_does_not_ask_for_it_again(catalog: Catalog) -> None:
    settled = slot(session_id=new_session_id())
    await catalog.add_slot(settled)
    assert await claim(catalog, settled, new_session_id()) == settled
    assert await catalog.slot(settled.id) == settled


async def test_among_simultaneous_claims_one_wins(catalog: Catalog) -> None:
    offered = slot()
    await catalog.add_slot(offered)
    claims = [new_session_id() for _ in range(50)]
    answers = await asyncio.gather(*(claim(catalog, offered, wanted) for wanted in claims))
    winner = await read(catalog, offered.id)
    assert winner.session_id in claims
    assert answers == [winner] * 50


async def test_of_many_slots_each_is_claimed_by_itself(catalog: Catalog) -> None:
    before = [slot(), slot(), slot(is_active=False), slot(session_id=new_session_id()), slot()]
    free, edited, withdrawn, taken, late = before
    await stored(catalog, free, edited, withdrawn, taken, late)
    moved = replace(edited, start_time=LATER, updated_at=NOON)
    assert await catalog.change_slot(moved, edited.updated_at, unopened=True)
    claims = [Claim(wanted, new_session_id()) for wanted in (*before, slot())]
    sessions = {wanted.id: session_id for wanted, session_id in claims}

    claimed = {found.id: found for found in await catalog.claim_sessions(claims)}

    assert claimed == {
        free.id: replace(free, session_id=sessions[free.id], settle_at=free.end_time),
        late.id: replace(late, session_id=sessions[late.id], settle_at=late.end_time),
        taken.id: taken,
    }
    for wanted in (free, late, taken):
        assert await catalog.slot(wanted.id) == claimed[wanted.id]
    assert await catalog.slot(edited.id) == moved
    assert await catalog.slot(withdrawn.id) == withdrawn
    assert await catalog.claim_sessions([]) == []


async def test_inactive_and_unknown_slots_cannot_be_claimed(catalog: Catalog) -> None:
    withdrawn, withdrawn_later = slot(is_active=False), slot(is_active=False, session_id=new_session_id())
    await stored(catalog, withdrawn, withdrawn_later)
    for wanted in (withdrawn, withdrawn_later, slot()):
        assert await claim(catalog, wanted, new_session_id()) is None
    assert await catalog.slot(withdrawn.id) == withdrawn
    assert await catalog.slot(withdrawn_later.id) == withdrawn_later


async def test_unsettled_are_the_slots_that_are_overdue_the_most_overdue_first(catalog: Catalog) -> None:
    overdue = [slot(settle_at=NOON - n * MOMENT, is_active=bool(n % 2)) for n in range(5)]
    await stored(catalog, slot(), slot(settle_at=NOON + MOMENT), *overdue)
    most_overdue_first = overdue[::-1]
    assert await catalog.unsettled(NOON, 100) == most_overdue_first
    assert await catalog.unsettled(NOON, 3) == most_overdue_first[:3]
    assert await catalog.unsettled(NOON, 0) == []
    assert await catalog.unsettled(NOON - 4 * MOMENT, 100) == most_overdue_first[:1]
    assert await catalog.unsettled(NOON - 5 * MOMENT, 100) == []


async def test_a_settled_slot_is_no_longer_overdue(catalog: Catalog) -> None:
    overdue = slot(settle_at=NOON)
    await catalog.add_slot(overdue)
    await catalog.settle(overdue.id, NOON)
    assert await catalog.slot(overdue.id) == replace(overdue, settle_at=None)
    assert await catalog.unsettled(LATER, 10) == []
    await catalog.settle(overdue.id, NOON)
    await catalog.settle(new_slot_id(), NOON)
    assert await catalog.slot(overdue.id) == replace(overdue, settle_at=None)


async def test_settling_can_be_put_off(catalog: Catalog) -> None:
    overdue = slot(settle_at=NOON)
    await catalog.add_slot(overdue)
    await catalog.settle(overdue.id, NOON, LATER)
    later = replace(overdue, settle_at=LATER)
    assert await catalog.unsettled(LATER - MOMENT, 10) == []
    assert await catalog.unsettled(LATER, 10) == [later]


async def test_what_has_come_up_since_is_not_settled(catalog: Catalog) -> None:
    overdue = slot(settle_at=NOON)
    await catalog.add_slot(overdue)
    for again_at in (None, LATER):
        await catalog.settle(overdue.id, NOON - MOMENT, again_at)
        assert await catalog.slot(overdue.id) == overdue


async def test_active_slots_that_repeat_and_have_no_series_are_to_be_adopted(catalog: Catalog) -> None:
    daily, weekly = slot(recurrence=Recurrence.DAILY), slot(recurrence=Recurrence.WEEKLY, session_id=new_session_id())
    await stored(
        catalog,
        slot(),
        slot(recurrence=Recurrence.ONCE),
        slot(recurrence=Recurrence.DAILY, is_active=False),
        slot(recurrence=Recurrence.WEEKLY, series_id=new_slot_id(), series_number=2),
        daily,
        weekly,
    )
    found = await catalog.slots_to_adopt(10)
    assert sorted(found, key=lambda item: item.id) == [daily, weekly]
    (one,) = await catalog.slots_to_adopt(1)
    assert one in (daily, weekly)
    assert await catalog.slots_to_adopt(0) == []


async def test_an_adopted_slot_is_an_occurrence_of_its_series_for_good(catalog: Catalog) -> None:
    daily = slot(recurrence=Recurrence.DAILY)
    await catalog.add_slot(daily)
    await catalog.adopt_slot(daily.id, daily.id, 0)
    adopted = replace(daily, series_id=daily.id, series_number=0)
    assert await catalog.slot(daily.id) == adopted
    await catalog.adopt_slot(daily.id, new_slot_id(), 5)
    await catalog.adopt_slot(new_slot_id(), daily.id, 5)
    assert await catalog.slot(daily.id) == adopted
    assert await catalog.slots_to_adopt(10) == []
