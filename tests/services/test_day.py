"""A whole day of a platform in a few seconds: what everybody did must add up in the evening.

Users register, cancel, come late, leave, lose their connection or never come; moderators withdraw slots and end
sessions; one of the two nodes is killed at noon and replaced. Same seed, same day.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import SessionEnded
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import EndReason, Level, SessionStatus, TimeSlot
from coordinator.ports.bookings import RegistrationQuery
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import MODERATOR, START, minutes, user
from tests.services.clients import Client
from tests.services.harness import Node, World

SLOTS = 200
USERS = [user(number) for number in range(90)]
HOURS = 12
MORNING = START + timedelta(hours=1)
"""When the first slots begin; people register up to an hour earlier."""
NOON = MORNING + timedelta(hours=HOURS / 2)
EVENING = MORNING + timedelta(hours=HOURS + 1)
STEP_SECONDS = 20.0
T = TypeVar("T")
Deed = Callable[[], Awaitable[None]]


class Day:
    """What everybody does on one day, decided by a seed beforehand, as far as that is possible."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.nodes: list[Node] = []
        self.slots: list[SlotId] = []
        self.plan: list[tuple[datetime, int, Deed]] = []
        self.clients: dict[tuple[SlotId, UserId], Client] = {}
        self.told: list[Client] = []
        self.registered: set[tuple[SlotId, UserId]] = set()
        self.lost: set[tuple[SlotId, UserId]] = set()
        """Those whose request died with its node, who may be registered or not."""
        self.under_way: dict[asyncio.Task[None], Node | None] = {}
        self.deeds: Counter[str] = Counter()

    async def start_node(self, name: str) -> None:
        node = self.world.node(name, max_pending=500)
        node.course.jitter = random.Random(name)
        await node.take_up(STEP_SECONDS / 2)
        node.beat()
        self.nodes.append(node)

    async def prepare(self) -> None:
        for name in ("a0", "b0"):
            await self.start_node(name)
        for number in range(SLOTS):
            start = MORNING + minutes(5 * self.random.randrange(HOURS * 12))
            slot = await self.world.slot(
                start=start,
                duration_minutes=self.random.choice((15, 30, 45)),
                max_participants=self.random.choice((2, 3, 4, 8)),
                level=self.random.choice(list(Level)),
            )
            self.slots.append(slot)
            await self.plan_slot(await self.world.found(slot), number)
        self.at(NOON, self.crash)
        self.at(NOON + timedelta(seconds=40), lambda: self.start_node("c0"))
        for number in range(30):  # the hour of the crash is a busy one
            slot, who = self.random.choice(self.slots), user(100 + number)
            self.at(NOON, lambda slot=slot, who=who: self.register(slot, who))  # type: ignore[misc]

    def at(self, instant: datetime, deed: Deed) -> None:
        self.plan.append((instant, len(self.plan), deed))

    async def plan_slot(self, slot: TimeSlot, number: int) -> None:
        chance = self.random.random
        popularity = self.random.choice((0, 1, 3, 6, 10))
        for who in self.random.sample(USERS, popularity):
            since = self.random.choice((60, 45, 30, 15, 11, 5))
            self.at(slot.start_time - minutes(since), lambda who=who: self.register(slot.id, who))  # type: ignore[misc]
            if chance() < 0.15:
                moment = slot.start_time - minutes(self.random.choice((14, 9, 1, -3)))
                self.at(moment, lambda who=who: self.cancel(slot.id, who))  # type: ignore[misc]
            if chance() < 0.25:
                continue  # never comes
            come = slot.start_time + minutes(self.random.choice((-9, -5, -1, 0, 2, 7, 12)))
            self.at(come, lambda who=who: self.join(slot.id, who))  # type: ignore[misc]
            if chance() < 0.5:
                gone = come + minutes(self.random.choice((1, 4, 10)))
                leave = self.leave if chance() < 0.5 else self.drop
                self.at(gone, lambda who=who, leave=leave: leave(slot.id, who))  # type: ignore[misc]
        if number % 9 == 0:
            moment = slot.start_time + minutes(self.random.choice((-30, -9, -1, 3, 12)))
            self.at(moment, lambda: self.withdraw(slot.id))
        if number % 11 == 0:
            self.at(slot.start_time + minutes(self.random.choice((-2, 4, 8))), lambda: self.end(slot.id))

    def node(self) -> Node:
        """Some node for what the present task does."""
        task = asyncio.current_task()
        assert task is not None
        self.under_way[task] = node = self.random.choice(self.nodes)
        return node

    async def done(self, deed: str, work: Awaitable[T]) -> T | None:
        """Do something as its user would; refusals are part of life."""
        try:
            result = await work
        except CoordinatorError as refusal:
            self.deeds[f"{deed}: {refusal.code}"] += 1
            return None
        self.deeds[deed] += 1
        return result

    async def register(self, slot: SlotId, who: UserId) -> None:
        try:
            if await self.done("register", self.node().booking.register(slot, who)) is not None:
                self.registered.add((slot, who))
        except asyncio.CancelledError:
            self.lost.add((slot, who))
            raise

    async def cancel(self, slot: SlotId, who: UserId) -> None:
        await self.done("cancel", self.node().booking.cancel(slot, who))

    async def join(self, slot: SlotId, who: UserId) -> None:
        session = await self.world.session_of(slot)
        if session is None:
            return
        client = self.node().client(who, session)
        if await self.done("join", client.join()) is not None:
            self.clients[slot, who] = client
            self.told.append(client)

    async def leave(self, slot: SlotId, who: UserId) -> None:
        client = self.clients.pop((slot, who), None)
        if client is not None and client.node in self.nodes:
            await self.done("leave", client.leave())

    async def drop(self, slot: SlotId, who: UserId) -> None:
        client = self.clients.pop((slot, who), None)
        if client is not None and client.node in self.nodes:
            await self.done("drop", client.drop())

    async def withdraw(self, slot: SlotId) -> None:
        node = self.node()
        if (await self.world.found(slot)).end_time > self.world.clock.now():
            await self.world.deactivate(slot, node)
            self.deeds["withdraw"] += 1
            if self.random.random() < 0.5:  # otherwise whoever did it was killed before the next step
                await node.settlement.settle(slot)

    async def end(self, slot: SlotId) -> None:
        session = await self.world.session_of(slot)
        if session is not None:
            await self.done("end", self.node().moderation.end_session(MODERATOR, session))

    async def crash(self) -> None:
        """Kill a node while it is busy; what was asked of it is never answered."""
        for _ in range(15):
            await asyncio.sleep(0)
        node = self.nodes.pop(0)
        for task in [task for task, of in self.under_way.items() if of is node and not task.done()]:
            task.cancel()
        await node.crash()

    async def live(self) -> None:
        """Let the day pass."""
        pending = sorted(self.plan, key=lambda planned: planned[:2], reverse=True)
        while self.world.clock.now() < EVENING:
            while pending and pending[-1][0] <= self.world.clock.now():
                self.under_way[asyncio.create_task(self._do(pending.pop()[2]))] = None
            await self.world.clock.advance(STEP_SECONDS)
            for task in [task for task in self.under_way if task.done()]:
                if not task.cancelled():
                    task.result()
                del self.under_way[task]
        assert not pending
        assert not self.under_way
        await self.world.clock.advance(AFTERMATH.total_seconds() + 5)

    @staticmethod
    async def _do(deed: Deed) -> None:
        await deed()


async def check_session(world: World, session: SessionId) -> EndReason:
    kinds = Counter(await world.kinds(session))
    assert kinds["session_opened"] == kinds["session_ended"] == 1
    assert kinds["session_started"] <= 1
    state = await world.state(session)
    assert state.status is SessionStatus.ENDED
    assert state.seats_taken == 0
    (event,) = [event for event in await world.log(session) if isinstance(event.body, SessionEnded)]
    assert event.at <= state.scheduled_end
    stored, expected = await world.documents(session), await world.expected_documents(session)
    assert stored.session == expected.session
    assert {who.user_id: who for who in stored.participants} == {who.user_id: who for who in expected.participants}
    assert state.end_reason is not None
    return state.end_reason


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_day_adds_up(world: World, seed: int) -> None:
    day = Day(world, seed)
    await day.prepare()
    await day.live()

    ends: Counter[str] = Counter()
    became: Counter[str] = Counter()
    sessions: set[SessionId] = set()
    everyone: set[tuple[SlotId, UserId]] = set()
    for slot_id in day.slots:
        slot = await world.found(slot_id)
        registrations = await world.bookings.page(RegistrationQuery(slot_id=slot_id, limit=1000))
        statuses = {item.user_id: str(item.status) for item in registrations}
        everyone.update((slot_id, who) for who in statuses)
        became.update(statuses.values())
        assert set(statuses.values()) <= {"attended", "noshow", "cancelled"}
        assert slot.registered_count == sum(status != "cancelled" for status in statuses.values())
        assert slot.registered_count <= slot.max_participants
        assert slot.settle_at is None
        came: set[UserId] = set()
        if slot.session_id is None:
            assert set(statuses.values()) <= {"cancelled"}
        else:
            sessions.add(slot.session_id)
            ends[str(await check_session(world, slot.session_id))] += 1
            state = await world.state(slot.session_id)
            came = set(state.participants)
            assert came <= set(statuses)
        attended = {who for who, status in statuses.items() if status == "attended"}
        assert attended == {who for who in came if statuses[who] != "cancelled"}
    assert sessions == {session async for session in world.journal.session_ids()}
    assert day.registered <= everyone <= day.registered | day.lost
    assert len(everyone) == became["attended"] + became["noshow"] + became["cancelled"]
    for client in day.told:
        log = await world.log(client.session)
        assert client.events == [log[event.seq - 1] for event in client.events]

    # It was a day on which everything happened.
    assert set(ends) == {str(reason) for reason in EndReason}
    assert day.lost
    assert min(became["attended"], became["noshow"], became["cancelled"]) > 40
    assert {"register", "register: slot_full", "register: overlapping_registration", "cancel", "join", "leave"} <= set(
        day.deeds
    )
