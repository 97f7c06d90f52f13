"""Single slots are withdrawn, and taken up again."""

import pytest

from coordinator.domain.errors import (
    InvalidRequestError,
    SessionEndedError,
    SlotInactiveError,
    SlotOverError,
    StaleVersionError,
)
from coordinator.domain.ids import SessionId
from coordinator.domain.model import Level, SessionStatus
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, MOMENT, minutes
from tests.services.desks import DAY, FIRST, SLOT, Desk, terms
from tests.services.faults import Mishap
from tests.services.harness import World, soon

SESSION = SessionId("5e" * 12)


@pytest.fixture
async def desk(world: World) -> Desk:
    return Desk(world, "a0")


class TestDeactivation:
    async def test_a_withdrawn_slot_has_no_registrations_left(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN], start=FIRST, registered_count=2)
        before = await world.found(slot)
        after = await desk.deactivate(slot)
        assert after == await world.found(slot)
        assert after.is_active is False
        assert after.updated_at > before.updated_at
        assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "cancelled"}
        assert after.registered_count == 0

    async def test_an_edit_can_withdraw_too(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA], start=FIRST)
        assert (await desk.edit(slot, is_active=False)).is_active is False
        assert await world.statuses(slot) == {ANNA: "cancelled"}

    async def test_its_session_does_not_take_place(self, world: World, desk: Desk) -> None:
        session = await world.open_session(desk.node, [ANNA, BEN])
        slot = (await world.state(session)).time_slot_id
        await desk.deactivate(slot)
        assert (await world.state(session)).status is SessionStatus.ENDED
        assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "cancelled"}

    async def test_withdrawing_again_changes_nothing(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA], start=FIRST)
        first = await desk.deactivate(slot)
        await world.at(minutes(5))
        again = await desk.deactivate(slot)
        assert (again.updated_at, again.is_active) == (first.updated_at, False)

    async def test_what_an_earlier_attempt_left_is_done(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA], start=FIRST)
        await world.deactivate(slot)
        assert await world.statuses(slot) == {ANNA: "registered"}
        await desk.deactivate(slot)
        assert await world.statuses(slot) == {ANNA: "cancelled"}

    async def test_a_slot_that_is_over_is_not_withdrawn(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        await world.at(DAY + minutes(30))
        with pytest.raises(SlotOverError):
            await desk.deactivate(SLOT)
        assert (await world.found(SLOT)).is_active

    async def test_not_another_version_either(self, desk: Desk) -> None:
        slot = await desk.offer(terms())
        with pytest.raises(StaleVersionError):
            await desk.deactivate(SLOT, slot.updated_at - MOMENT)
        assert (await desk.deactivate(SLOT, slot.updated_at)).is_active is False

    async def test_an_edit_that_comes_between_does_not_stop_it(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        rival = Desk(world, "b0")
        desk.catalog.before("change_slot", lambda: rival.edit(SLOT, level=Level.C2))
        after = await desk.deactivate(SLOT)
        assert (after.is_active, after.level) == (False, Level.C2)

    async def test_nor_does_a_session_that_opens_meanwhile(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        desk.catalog.before("change_slot", lambda: world.claim(SLOT, SESSION))
        after = await desk.deactivate(SLOT)
        assert (after.is_active, after.session_id) == (False, None), "a session that was never opened is not shown"
        assert (await world.found(SLOT)).session_id == SESSION

    @pytest.mark.parametrize("mishap", list(Mishap))
    async def test_wherever_it_is_cut_short_it_happens_as_a_whole_or_not_at_all(
        self, world: World, mishap: Mishap
    ) -> None:
        at, is_cut = 0, True
        while is_cut:
            at += 1
            here = World(world.logs)
            desk = Desk(here, "a0")
            slot = await here.slot([ANNA], start=FIRST, registered_count=1)
            work = desk.offering.deactivate(slot, whole_series=False, expected=None)
            is_cut = await desk.cut_short(work, at, mishap)
            await soon(Desk(here, "b0").node.settlement.settle_due())
            found = await here.found(slot)
            assert await here.statuses(slot) == {ANNA: "registered" if found.is_active else "cancelled"}
            assert found.registered_count == int(found.is_active)
            await here.close()
        assert at > 5
        assert not found.is_active


class TestReactivation:
    async def test_a_withdrawn_slot_may_be_offered_again_without_its_registrations(
        self, world: World, desk: Desk
    ) -> None:
        slot = await world.slot([ANNA], start=FIRST)
        withdrawn = await desk.deactivate(slot)
        with pytest.raises(SlotInactiveError):
            await desk.edit(slot, level=Level.A1)
        again = await desk.edit(slot, withdrawn.updated_at, is_active=True, level=Level.A1)
        assert (again.is_active, again.level) == (True, Level.A1)
        assert await world.statuses(slot) == {ANNA: "cancelled"}

    async def test_registrations_made_then_are_safe_from_what_the_withdrawal_left_to_do(
        self, world: World, desk: Desk
    ) -> None:
        slot = await world.slot([ANNA], start=FIRST)
        await world.deactivate(slot)  # by a node that died then
        await desk.edit(slot, is_active=True)
        assert await world.statuses(slot) == {ANNA: "cancelled"}
        await soon(desk.node.booking.register(slot, BEN))
        desk.node.tick()
        await world.at(2 * AFTERMATH)
        assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "registered"}
        assert (await world.found(slot)).settle_at is None

    async def test_only_before_its_start(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        await desk.deactivate(SLOT)
        await world.at(DAY)
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit(SLOT, is_active=True)
        assert refusal.value.field == "startTime"
        assert (await desk.edit(SLOT, is_active=True, start_time=FIRST + DAY)).is_active

    async def test_not_once_it_had_a_session(self, world: World, desk: Desk) -> None:
        session = await world.open_session(desk.node, [ANNA, BEN])
        slot = (await world.state(session)).time_slot_id
        await desk.deactivate(slot)
        with pytest.raises(SessionEndedError):
            await desk.edit(slot, is_active=True)
