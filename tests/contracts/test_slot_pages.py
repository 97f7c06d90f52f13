"""`Catalog.page` over every backend: each slot that is looked for once, in order, whatever lies between two of them."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SlotId
from coordinator.domain.model import Language, Level, TimeSlot
from coordinator.ports.catalog import Catalog, SlotQuery
from tests.contracts.making import MOMENT, NOON, new_slot_id, slot

DAY = timedelta(days=1)
SERIES = SlotId("5e71e55e71e55e71e55e71e5")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
BEFORE_DATES = datetime(1, 1, 1, tzinfo=UTC)
AFTER_DATES = datetime.max.replace(tzinfo=UTC)

STARTS = [
    datetime(1969, 7, 20, tzinfo=UTC),
    LONG_AGO,
    datetime(2001, 9, 9, tzinfo=UTC),
    *(NOON - number * 100 * DAY for number in (4, 3, 2, 1)),
    NOON - MOMENT,
    *[NOON] * 7,  # more than a page
    NOON + MOMENT,
    *[NOON + 59 * timedelta(minutes=1)] * 3,
    *(NOON + number * timedelta(hours=1) for number in range(1, 6)),
    *(NOON + number * DAY for number in (1, 2, 2, 2, 30, 200, 201)),
    *(NOON + years * 365 * DAY for years in (3, 3, 20, 200)),
    datetime(8999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
]
FILTERS: list[dict[str, Any]] = [
    {},
    {"is_active": True},
    {"is_active": False},
    {"target_language_code": Language.FRENCH},
    {"level": Level.B1},
    {"target_language_code": Language.FRENCH, "level": Level.B1},
    {"target_language_code": Language.SPANISH, "is_active": True},
    {"level": Level.B2, "is_active": True},
    {"target_language_code": Language.FRENCH, "level": Level.B1, "is_active": True},
    {"series_id": SERIES},
    {"series_id": SERIES, "is_active": True, "target_language_code": Language.FRENCH},
]


def offer() -> list[TimeSlot]:
    """Slots in order, of which each filter finds some."""
    dice = random.Random(1)
    return [
        slot(
            start_time=start,
            target_language_code=dice.choice([Language.FRENCH, Language.SPANISH]),
            level=dice.choice([Level.B1, Level.B2]),
            is_active=dice.random() < 0.7,
            series_id=SERIES if dice.random() < 0.6 else None,
        )
        for start in STARTS
    ]


async def stored(catalog: Catalog, slots: list[TimeSlot]) -> None:
    shuffled = random.Random(2).sample(slots, len(slots))
    await asyncio.gather(*(catalog.add_slot(item) for item in shuffled))


def chosen(slots: list[TimeSlot], filters: dict[str, Any]) -> list[TimeSlot]:
    return [item for item in slots if all(getattr(item, name) == value for name, value in filters.items())]


async def through_all_pages(catalog: Catalog, query: SlotQuery) -> list[TimeSlot]:
    found: list[TimeSlot] = []
    while page := await catalog.page(query):
        assert len(page) <= query.limit
        found += page
        query = replace(query, after=(page[-1].start_time, page[-1].id))
    return found


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_pages_hold_each_slot_once_and_in_order(catalog: Catalog, filters: dict[str, Any]) -> None:
    slots = offer()
    await stored(catalog, slots)
    wanted = chosen(slots, filters)
    assert 2 < len(wanted) <= len(slots)
    for limit in (3, 100):
        query = SlotQuery(start_from=BEFORE_DATES, limit=limit, **filters)
        assert await through_all_pages(catalog, query) == wanted
    coming = [item for item in wanted if item.start_time >= NOON]
    assert await through_all_pages(catalog, SlotQuery(start_from=NOON, limit=4, **filters)) == coming


async def test_a_page_goes_on_after_any_slot(catalog: Catalog) -> None:
    slots = offer()
    await stored(catalog, slots)
    for number, item in enumerate(slots):
        query = SlotQuery(start_from=BEFORE_DATES, after=(item.start_time, item.id), limit=2)
        assert await catalog.page(query) == slots[number + 1 : number + 3]


async def test_a_cursor_need_not_be_that_of_a_slot(catalog: Catalog) -> None:
    slots = [slot(start_time=NOON) for _ in range(3)]
    await stored(catalog, slots)

    async def after(start: datetime, slot_id: str) -> list[TimeSlot]:
        return await catalog.page(SlotQuery(start_from=NOON - DAY, after=(start, SlotId(slot_id))))

    assert await after(NOON, "0" * 24) == slots
    assert await after(NOON, "f" * 24) == []
    assert await after(NOON - MOMENT, "f" * 24) == slots
    assert await after(NOON + MOMENT, "0" * 24) == []
    assert await after(NOON - 2 * DAY, "f" * 24) == slots  # before everything that is looked for
    assert await after(AFTER_DATES, "0" * 24) == []
    assert await after(BEFORE_DATES, "0" * 24) == slots


@pytest.mark.parametrize("with_series", [False, True])
async def test_both_ends_are_included(catalog: Catalog, with_series: bool) -> None:
    slots = [slot(start_time=NOON + number * MOMENT, series_id=SERIES) for number in range(5)]
    await stored(catalog, slots)

    def query(start_from: datetime, start_until: datetime | None, **more: Any) -> SlotQuery:
        series_id = SERIES if with_series else None
        return SlotQuery(start_from=start_from, start_until=start_until, series_id=series_id, **more)

    first, second, last = slots[0].start_time, slots[1].start_time, slots[3].start_time
    assert await catalog.page(query(second, last)) == slots[1:4]
    assert await catalog.page(query(second, second)) == slots[1:2]
    assert await catalog.page(query(second, None)) == slots[1:]
    assert await catalog.page(query(last, second)) == []
    assert await catalog.page(query(BEFORE_DATES, AFTER_DATES)) == slots
    assert await catalog.page(query(AFTER_DATES, None)) == []
    assert await catalog.page(query(second, last, after=(last, slots[3].id))) == []
    assert await catalog.page(query(second, last, after=(slots[4].start_time, SlotId("0" * 24)))) == []
    assert await catalog.page(query(second, last, after=(second, slots[1].id))) == slots[2:4]
    assert await catalog.page(query(second, last, after=(first, slots[0].id))) == slots[1:4]


async def test_no_slots_make_an_empty_page(catalog: Catalog) -> None:
    assert await catalog.page(SlotQuery(start_from=NOON)) == []
    await catalog.add_slot(slot())
    for query in (
        SlotQuery(start_from=NOON, level=Level.A1),
        SlotQuery(start_from=NOON, target_language_code=Language.ENGLISH),
        SlotQuery(start_from=NOON, is_active=False),
        SlotQuery(start_from=NOON, series_id=new_slot_id()),
    ):
        assert await catalog.page(query) == []


async def test_a_page_has_fifty_unless_it_is_asked_for_more(catalog: Catalog) -> None:
    slots = [slot(start_time=NOON + number * DAY) for number in range(60)]
    await stored(catalog, slots)
    assert await catalog.page(SlotQuery(start_from=NOON)) == slots[:50]
    assert await catalog.page(SlotQuery(start_from=NOON, limit=55)) == slots[:55]
    assert await catalog.page(SlotQuery(start_from=NOON, limit=1)) == slots[:1]


@pytest.mark.parametrize("shift", [lambda at: at - 3 * DAY, lambda at: at + 3 * DAY], ids=["earlier", "later"])
async def test_pages_follow_a_slot_that_is_moved(catalog: Catalog, shift: Callable[[datetime], datetime]) -> None:
    slots = [slot(start_time=NOON + number * DAY) for number in range(4)]
    await stored(catalog, slots)
    moved = replace(slots[1], start_time=shift(slots[1].start_time) + MOMENT, updated_at=NOON)
    assert await catalog.change_slot(moved, slots[1].updated_at, unopened=True)
    wanted = sorted([slots[0], moved, *slots[2:]], key=lambda item: item.start_time)
    assert await catalog.page(SlotQuery(start_from=NOON - 9 * DAY)) == wanted
