"""Nodes that offer slots: what a moderator's requests reach, and the loop that makes occurrences.

Each desk goes its own way to the stores that all share: calls of one can be counted, lost, delayed, or come between.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SlotId
from coordinator.domain.model import Language, Level, Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.slots import SlotTerms
from coordinator.ports.catalog import SlotQuery
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.occurrences import Occurrences
from coordinator.services.offering import Offering
from tests.domain.story import START
from tests.services.faults import Course, Mishap, Watched
from tests.services.harness import World, soon

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
FIRST = START + DAY
"""When the slots of these tests start, unless they are told to start at another time: tomorrow at 18:00 UTC."""
SLOT = SlotId("0ffe" * 6)
BEGINNING = datetime.min.replace(tzinfo=START.tzinfo)


def terms(**fields: Any) -> SlotTerms:
    """A slot tomorrow, once."""
    offered = SlotTerms(target_language_code=Language.FRENCH, level=Level.B1, start_time=FIRST, duration_minutes=30)
    return replace(offered, **fields)


def daily(**fields: Any) -> SlotTerms:
    return terms(recurrence=Recurrence.DAILY, **fields)


def weekly(**fields: Any) -> SlotTerms:
    return terms(recurrence=Recurrence.WEEKLY, **fields)


class Meddler:
    """Does something else just before a certain call."""

    def __init__(self, store: object) -> None:
        self._store = store
        self._plans: list[tuple[str, Callable[[], Awaitable[Any]]]] = []

    def before(self, call: str, deed: Callable[[], Awaitable[Any]]) -> None:
        """Do `deed` before the next call of that name; several deeds take one call each."""
        self._plans.append((call, deed))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            plan = next((plan for plan in self._plans if plan[0] == name), None)
            if plan is not None:
                self._plans.remove(plan)
                await plan[1]()
            return await method(*args, **kwargs)

        return call


class Dawdler:
    """Takes its time before each call, never the same, but the same for each seed."""

    def __init__(self, store: object, dice: random.Random) -> None:
        self._store = store
        self._dice = dice

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            for _ in range(self._dice.choice((0, 0, 1, 2, 5, 20))):
                await asyncio.sleep(0)
            return await method(*args, **kwargs)

        return call


class Desk:
    """A node with the services that offer slots.

    Attributes:
        course: All its calls to the stores.
        catalog: Where something can be done before one of its calls.
        bookings: Likewise.
    """

    def __init__(self, world: World, name: str, dice: random.Random | None = None) -> None:
        self.node = world.node(name)
        self.course: Course = self.node.course
        self.catalog = Meddler(Watched(world.catalog, self.course))
        self.bookings = Meddler(Watched(world.bookings, self.course))
        catalog: Any = self.catalog if dice is None else Dawdler(self.catalog, dice)
        bookings: Any = self.bookings
        settlement = self.node.settlement
        self.occurrences = Occurrences(catalog, bookings, settlement, world.clock)
        self.offering = Offering(catalog, bookings, self.occurrences, settlement, self.node.reader, world.clock)

    async def offer(self, offered: SlotTerms, slot_id: SlotId = SLOT) -> TimeSlot:
        return await soon(self.offering.offer(offered, slot_id))

    async def edit(self, slot_id: SlotId, expected: datetime | None = None, **changes: Any) -> TimeSlot:
        edit = self.offering.edit(slot_id, SlotChanges(**changes), whole_series=False, expected=expected)
        return await soon(edit)

    async def edit_series(self, slot_id: SlotId, expected: datetime | None = None, **changes: Any) -> TimeSlot:
        edit = self.offering.edit(slot_id, SlotChanges(**changes), whole_series=True, expected=expected)
        return await soon(edit)

    async def deactivate(self, slot_id: SlotId, expected: datetime | None = None) -> TimeSlot:
        return await soon(self.offering.deactivate(slot_id, whole_series=False, expected=expected))

    async def stop(self, slot_id: SlotId, expected: datetime | None = None) -> TimeSlot:
        return await soon(self.offering.deactivate(slot_id, whole_series=True, expected=expected))

    async def make_due(self) -> None:
        await soon(self.occurrences.make_due())

    async def cut_short(self, work: Awaitable[Any], at: int, mishap: Mishap) -> bool:
        """Let the call number `at` of some work go wrong; tell whether the work got that far."""
        self.course.begin(at, mishap)
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self.course.died.wait())
        await soon(asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED))
        task.cancel()
        death.cancel()
        outcome: object = (await asyncio.gather(task, death, return_exceptions=True))[0]
        if isinstance(outcome, Exception) and not isinstance(outcome, OutcomeUnknownError | UnavailableError):
            raise outcome
        return len(self.course.calls) >= at


async def series_of(world: World, series_id: SlotId = SLOT) -> Series:
    series = await world.catalog.series(series_id)
    assert series is not None
    return series


async def slots_of(world: World, series_id: SlotId = SLOT) -> list[TimeSlot]:
    """All slots of a series, also those that are over, by their numbers."""
    slots = await world.catalog.page(SlotQuery(start_from=BEGINNING, series_id=series_id, limit=10_000))
    return sorted(slots, key=lambda slot: -1 if slot.series_number is None else slot.series_number)


async def starts_of(world: World, series_id: SlotId = SLOT) -> list[datetime]:
    return [slot.start_time for slot in await slots_of(world, series_id)]


async def number(world: World, which: int, series_id: SlotId = SLOT) -> TimeSlot:
    """One occurrence of a series."""
    (slot,) = [slot for slot in await slots_of(world, series_id) if slot.series_number == which]
    return slot


def days(first: datetime, count: int) -> list[datetime]:
    return [first + n * DAY for n in range(count)]


def values(slots: Iterable[TimeSlot], field: str) -> list[Any]:
    return [getattr(slot, field) for slot in slots]
