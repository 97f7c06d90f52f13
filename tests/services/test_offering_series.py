"""Whole series are edited: every slot to come follows, what has begun does not (stopped: `_stops`)."""

import asyncio
from typing import Any

import pytest

from coordinator.domain.errors import (
    InvalidRequestError,
    NotFoundError,
    SlotOverError,
    StaleVersionError,
    UnavailableError,
)
from coordinator.domain.ids import SessionId, SlotId, UserId, occurrence_id
from coordinator.domain.model import Language, Level
from tests.domain.story import ANNA, BEN, CLEO, LOBBY, START, minutes, user
from tests.services.desks import (
    DAY,
    FIRST,
    SLOT,
    Desk,
    daily,
    days,
    number,
    series_of,
    slots_of,
    starts_of,
    terms,
    values,
)
from tests.services.faults import Mishap
from tests.services.harness import World, soon

HOUR = minutes(60)


@pytest.fixture
async def desk(world: World) -> Desk:
    """A desk that has offered a daily slot; numbers 0 to 12 are made."""
    desk = Desk(world, "a0")
    await desk.offer(daily())
    return desk


def numbered(which: int) -> SlotId:
    return occurrence_id(SLOT, which)


async def book(desk: Desk, which: int, *users: UserId) -> None:
    for who in users:
        await soon(desk.node.booking.register(numbered(which), who))


class TestEdits:
    async def test_every_slot_to_come_is_changed_and_all_that_are_made_later(self, world: World, desk: Desk) -> None:
        await world.at(2 * DAY + LOBBY)
        answer = await desk.edit_series(
            numbered(5),
            target_language_code=Language.SPANISH,
            level=Level.C1,
            duration_minutes=45,
            max_participants=20,
            min_participants=5,
        )
        await desk.make_due()
        slots = await slots_of(world)
        assert len(slots) == 15
        assert answer == slots[5]
        assert values(slots, "level") == [Level.B1] + 14 * [Level.C1]
        assert values(slots, "target_language_code") == [Language.FRENCH] + 14 * [Language.SPANISH]
        assert values(slots, "duration_minutes") == [30] + 14 * [45]
        assert values(slots, "max_participants") == [8] + 14 * [20]
        assert values(slots, "min_participants") == [2] + 14 * [5]
        assert values(slots, "start_time") == days(FIRST, 15)
        assert (await series_of(world)).pending is None

    async def test_a_new_start_moves_all_of_them(self, world: World, desk: Desk) -> None:
        answer = await desk.edit_series(numbered(4), start_time=FIRST + 4 * DAY + HOUR)
        assert answer.start_time == FIRST + 4 * DAY + HOUR
        assert await starts_of(world) == days(FIRST + HOUR, 13)
        await world.at(DAY)
        await desk.make_due()
        assert await starts_of(world) == days(FIRST + HOUR, 14)
        # Within the horizon was the next one's old time, but not the new one.
        await world.at(DAY + HOUR)
        await desk.make_due()
        assert await starts_of(world) == days(FIRST + HOUR, 15)

    async def test_a_series_keeps_its_new_time_across_the_change_of_clocks(self, world: World, desk: Desk) -> None:
        # 19:00 in Paris; its clocks go forward on 31 March.
        await desk.edit_series(SLOT, timezone="Europe/Paris")
        assert await starts_of(world) == days(FIRST, 13)
        for day in range(1, 31):
            await world.at(day * DAY)
            await desk.make_due()
        starts = await starts_of(world)
        assert starts == [*days(FIRST, 26), *days(FIRST + 26 * DAY - HOUR, len(starts) - 26)]
        assert len(starts) == 44
        assert set(values(await slots_of(world), "timezone")) == {"Europe/Paris"}

    async def test_slots_keep_their_numbers_when_they_move_by_days(self, world: World, desk: Desk) -> None:
        await desk.edit_series(numbered(0), start_time=FIRST + 5 * DAY)
        assert await starts_of(world) == days(FIRST + 5 * DAY, 13)
        await world.at(8 * DAY)
        await desk.make_due()
        slots = await slots_of(world)
        assert values(slots, "id") == [numbered(n) for n in range(17)]
        assert values(slots, "start_time") == days(FIRST + 5 * DAY, 17)

    async def test_one_that_would_move_into_the_past_stays(self, world: World, desk: Desk) -> None:
        answer = await desk.edit_series(numbered(2), start_time=START + HOUR)
        assert answer.start_time == START + HOUR
        assert await starts_of(world) == [FIRST, FIRST + DAY, *days(START + HOUR, 14)]

    async def test_moving_one_slot_does_not_move_the_series(self, world: World, desk: Desk) -> None:
        await desk.edit(numbered(3), start_time=FIRST + 3 * DAY + HOUR)
        await world.at(2 * DAY)
        await desk.make_due()
        expected = days(FIRST, 16)
        expected[3] += HOUR
        assert await starts_of(world) == expected

    async def test_a_slot_that_was_edited_alone_gets_what_is_given_and_keeps_the_rest(
        self, world: World, desk: Desk
    ) -> None:
        await desk.edit(numbered(3), start_time=FIRST + 3 * DAY + HOUR, level=Level.A1, duration_minutes=15)
        await desk.edit_series(SLOT, level=Level.C2)
        slot = await number(world, 3)
        assert (slot.level, slot.duration_minutes, slot.start_time) == (Level.C2, 15, FIRST + 3 * DAY + HOUR)
        await desk.edit_series(SLOT, start_time=FIRST + minutes(5))
        assert (await number(world, 3)).start_time == FIRST + 3 * DAY + minutes(5)

    async def test_an_edit_of_nothing_changes_nothing(self, world: World, desk: Desk) -> None:
        before = await slots_of(world), await series_of(world)
        assert await desk.edit_series(numbered(3)) == before[0][3]
        assert (await slots_of(world), await series_of(world)) == before

    async def test_a_slot_with_a_session_keeps_its_rules(self, world: World, desk: Desk) -> None:
        await book(desk, 0, ANNA)
        await world.at(DAY + LOBBY)
        await soon(desk.node.openings.open_due())
        answer = await desk.edit_series(SLOT, level=Level.C1)
        assert answer.level is Level.B1
        assert values(await slots_of(world), "level") == [Level.B1] + 13 * [Level.C1]
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit_series(SLOT, start_time=FIRST + HOUR)
        assert refusal.value.field == "startTime"

    async def test_a_session_that_is_claimed_meanwhile_is_in_time(self, world: World, desk: Desk) -> None:
        session = SessionId("5e" * 12)
        desk.catalog.before("change_slot", lambda: world.claim(SLOT, session))
        await desk.edit_series(SLOT, level=Level.C1)
        assert values(await slots_of(world), "level") == [Level.B1] + 12 * [Level.C1]

    async def test_a_slot_that_was_withdrawn_stays_so_but_misses_nothing(self, world: World, desk: Desk) -> None:
        await desk.deactivate(numbered(3))
        await desk.edit_series(SLOT, level=Level.C1)
        slot = await number(world, 3)
        assert (slot.is_active, slot.level) == (False, Level.C1)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"duration_minutes": 20}, "durationMinutes"),
            ({"max_participants": 1}, "maxParticipants"),
            ({"min_participants": 9}, "minParticipants"),
            ({"timezone": "Mars/Base"}, "timezone"),
            ({"start_time": START + LOBBY}, "startTime"),
            ({"is_active": False, "level": Level.A1}, "isActive"),
        ],
        ids=str,
    )
    async def test_a_refused_edit_changes_nothing(
        self, world: World, desk: Desk, changes: dict[str, Any], named: str
    ) -> None:
        before = await slots_of(world), await series_of(world)
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit_series(numbered(3), **changes)
        assert refusal.value.field == named
        assert (await slots_of(world), await series_of(world)) == before

    async def test_a_slot_that_is_over_does_not_move_the_series(self, world: World, desk: Desk) -> None:
        await world.at(3 * DAY)
        with pytest.raises(SlotOverError):
            await desk.edit_series(SLOT, start_time=START + 4 * DAY)
        assert (await desk.edit_series(SLOT, level=Level.C1)).level is Level.B1
        assert (await number(world, 3)).level is Level.C1

    async def test_the_version_that_counts_is_the_addressed_slots(self, world: World, desk: Desk) -> None:
        version = (await number(world, 3)).updated_at
        await desk.edit(numbered(4), level=Level.A1)
        after = await desk.edit_series(numbered(3), version, level=Level.C1)
        for work in (desk.edit_series(numbered(3), version, level=Level.C2), desk.stop(numbered(3), version)):
            with pytest.raises(StaleVersionError) as refusal:
                await work
            assert refusal.value.field == "If-Match"
        assert set(values(await slots_of(world), "level")) == {Level.C1}
        assert (await desk.stop(numbered(3), after.updated_at)).is_active is False

    async def test_a_slot_alone_is_no_series(self, world: World, desk: Desk) -> None:
        other = SlotId("0" * 24)
        await desk.offer(terms(), other)
        stray = await world.slot(start=FIRST, series_id=other, series_number=1)
        for slot in (other, stray):
            for work in (desk.edit_series(slot, level=Level.A1), desk.edit_series(slot), desk.stop(slot)):
                with pytest.raises(NotFoundError) as refusal:
                    await work
                assert refusal.value.field == "scope"
                assert (await world.found(slot)).is_active

    async def test_silence_is_unavailable_and_what_was_begun_is_finished(self, world: World, desk: Desk) -> None:
        # Look at the slot, the series, the slot; write the series; look at the series; look what comes; write slots.
        desk.course.begin(9, Mishap.NOT_DONE)
        with pytest.raises(UnavailableError):
            await desk.edit_series(SLOT, level=Level.C1)
        assert len(set(values(await slots_of(world), "level"))) == 2
        await Desk(world, "b0").make_due()
        assert set(values(await slots_of(world), "level")) == {Level.C1}

    async def test_edits_of_one_series_at_the_same_time_all_hold(self, world: World, desk: Desk) -> None:
        desks = [desk, *(Desk(world, name) for name in ("b0", "c0", "d0"))]
        edits: list[dict[str, Any]] = [
            {"level": Level.C1},
            {"duration_minutes": 45},
            {"start_time": FIRST + HOUR},
            {"max_participants": 30},
        ]
        await asyncio.gather(*(desk.edit_series(SLOT, **edit) for desk, edit in zip(desks, edits, strict=True)))
        slots = await slots_of(world)
        assert set(values(slots, "level")) == {Level.C1}
        assert set(values(slots, "duration_minutes")) == {45}
        assert set(values(slots, "max_participants")) == {30}
        assert values(slots, "start_time") == days(FIRST + HOUR, 13)

    async def test_a_time_zone_keeps_the_start_that_another_edit_has_just_set(self, world: World, desk: Desk) -> None:
        other = Desk(world, "b0")
        desk.catalog.before("series", lambda: other.edit_series(SLOT, start_time=FIRST + HOUR))
        await desk.edit_series(SLOT, timezone="Asia/Tokyo")
        assert await starts_of(world) == days(FIRST + HOUR, 13)

    async def test_an_edit_of_one_slot_at_the_same_time_holds_too(self, world: World, desk: Desk) -> None:
        other = Desk(world, "b0")
        await asyncio.gather(
            desk.edit_series(SLOT, level=Level.C1),
            *(other.edit(numbered(n), duration_minutes=45) for n in range(13)),
        )
        slots = await slots_of(world)
        assert set(values(slots, "level")) == {Level.C1}
        assert set(values(slots, "duration_minutes")) == {45}


class TestSeats:
    async def test_seats_are_not_fewer_than_those_taken_in_any_slot_to_come(self, world: World, desk: Desk) -> None:
        await book(desk, 7, ANNA, BEN, CLEO)
        before = await series_of(world)
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit_series(SLOT, max_participants=2)
        assert refusal.value.field == "maxParticipants"
        assert await series_of(world) == before
        assert (await desk.edit_series(SLOT, max_participants=3)).max_participants == 3

    async def test_what_is_over_does_not_count(self, world: World, desk: Desk) -> None:
        await book(desk, 0, ANNA, BEN, CLEO)
        await world.at(DAY + HOUR)
        await desk.edit_series(SLOT, max_participants=2)
        assert values(await slots_of(world), "max_participants") == [8] + 14 * [2]

    @pytest.mark.parametrize("call", ["change_series", "change_slot"])
    async def test_a_slot_that_is_booked_meanwhile_keeps_its_seats(self, world: World, desk: Desk, call: str) -> None:
        """Before its seats are counted, or between that and the write."""
        other = Desk(world, "b0")
        desk.catalog.before(call, lambda: book(other, 0, *map(user, range(5))))
        await desk.edit_series(SLOT, max_participants=4, min_participants=3, level=Level.C1)
        slots = await slots_of(world)
        assert values(slots, "max_participants") == [8] + 12 * [4]
        assert set(values(slots, "min_participants")) == {3}
        assert set(values(slots, "level")) == {Level.C1}
        assert (await series_of(world)).max_participants == 4

    async def test_minimum_and_maximum_of_a_slot_stay_consistent(self, world: World, desk: Desk) -> None:
        await desk.edit(numbered(2), min_participants=6)
        await desk.edit(numbered(3), max_participants=3)
        await desk.edit_series(SLOT, max_participants=5)
        slots = await slots_of(world)
        assert [(slot.min_participants, slot.max_participants) for slot in slots[1:5]] == [
            (2, 5),
            (5, 5),
            (2, 5),
            (2, 5),
        ]
