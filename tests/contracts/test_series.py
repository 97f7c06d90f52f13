"""The port `Catalog`, sentence by sentence, over every backend: series."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.model import Level, SlotChanges
from coordinator.ports.catalog import Catalog
from tests.contracts.making import MOMENT, NOON, full_series, new_slot_id, series, slot


async def test_series_come_back_as_they_were_stored(catalog: Catalog) -> None:
    plain, full = series(), full_series()
    some = series(pending=SlotChanges(level=Level.A1))
    for item in (plain, full, some):
        await catalog.add_series(item)
    for item in (plain, full, some):
        assert await catalog.series(item.id) == item


async def test_an_unknown_series_is_none(catalog: Catalog) -> None:
    single = slot()
    await catalog.add_slot(single)
    assert await catalog.series(single.id) is None
    assert await catalog.series(new_slot_id()) is None


async def test_a_series_is_stored_once(catalog: Catalog) -> None:
    first = series()
    await catalog.add_series(first)
    with pytest.raises(KeyError):
        await catalog.add_series(series(first.id, next_number=99))
    assert await catalog.series(first.id) == first


async def test_among_simultaneous_makers_of_a_series_one_stores_it(catalog: Catalog) -> None:
    key = new_slot_id()
    every = [series(key, next_number=number) for number in range(20)]
    outcomes = await asyncio.gather(*(catalog.add_series(item) for item in every), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, KeyError) for outcome in outcomes)
    assert await catalog.series(key) == every[outcomes.index(None)]


async def test_a_change_writes_the_whole_series(catalog: Catalog) -> None:
    full = full_series()
    await catalog.add_series(full)
    other = series(full.id, level=Level.C2, anchor="2031-01-01T08:00:00.000", next_number=20, updated_at=NOON)
    assert await catalog.change_series(other, full.updated_at)
    assert await catalog.series(full.id) == other  # also without what the other one does not have
    back = replace(full, updated_at=NOON + MOMENT)
    assert await catalog.change_series(back, other.updated_at)
    assert await catalog.series(full.id) == back


async def test_a_change_made_from_another_version_is_not_written(catalog: Catalog) -> None:
    before = series()
    await catalog.add_series(before)
    wanted = replace(before, level=Level.A1, updated_at=NOON)
    for expected in (before.updated_at - MOMENT, before.updated_at + MOMENT, NOON):
        assert not await catalog.change_series(wanted, expected)
        assert await catalog.series(before.id) == before
    unknown = series()
    assert not await catalog.change_series(unknown, unknown.updated_at)
    assert await catalog.series(unknown.id) is None


async def test_among_simultaneous_changes_of_a_version_one_is_written(catalog: Catalog) -> None:
    before = series()
    await catalog.add_series(before)
    wanted = [replace(before, next_number=number, updated_at=NOON + number * MOMENT) for number in range(20)]
    outcomes = await asyncio.gather(*(catalog.change_series(item, before.updated_at) for item in wanted))
    assert sum(outcomes) == 1
    assert await catalog.series(before.id) == wanted[outcomes.index(True)]


async def test_due_are_the_series_whose_next_start_is_not_after_an_instant_earliest_first(catalog: Catalog) -> None:
    due = [series(next_start=NOON - number * MOMENT) for number in range(5)]
    for item in (series(), series(is_active=False), series(next_start=NOON + MOMENT), *due):
        await catalog.add_series(item)
    earliest_first = due[::-1]
    assert await catalog.due_series(NOON, 100) == earliest_first
    assert await catalog.due_series(NOON, 3) == earliest_first[:3]
    assert await catalog.due_series(NOON, 0) == []
    assert await catalog.due_series(NOON - 4 * MOMENT, 100) == earliest_first[:1]
    assert await catalog.due_series(NOON - 5 * MOMENT, 100) == []


async def test_a_series_that_moved_on_or_was_stopped_is_no_longer_due(catalog: Catalog) -> None:
    moved, stopped = series(next_start=NOON), series(next_start=NOON)
    for item in (moved, stopped):
        await catalog.add_series(item)
    later = replace(moved, next_start=NOON + timedelta(days=1), updated_at=NOON)
    assert await catalog.change_series(later, moved.updated_at)
    ended = replace(stopped, next_start=None, is_active=False, updated_at=NOON)
    assert await catalog.change_series(ended, stopped.updated_at)
    assert await catalog.due_series(NOON, 10) == []
    assert await catalog.due_series(NOON + timedelta(days=1), 10) == [later]
