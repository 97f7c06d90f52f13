"""Random schedules: whatever happens, a consumer that acks what it has processed misses nothing, in order.

Each seed is a schedule of its own. What a consumer has not acked when its connection ends, it has forgotten; so it
must come again.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import pytest

from coordinator.domain.errors import CoordinatorError, UnavailableError
from coordinator.domain.events import EventBody
from coordinator.domain.ids import SessionId
from tests.services.feeds import ENDED, Recorder, Stage, Station, fed, staged, unfed

STEPS = 120
SEEDS = range(40)
QUIET = {"write": 6, "flash": 1, "ack": 4, "pass": 2}
"""Nothing goes wrong, and nobody leaves."""
LEAVING = {**QUIET, "leave": 1, "subscribe": 2, "crash": 1}
TROUBLE = {**LEAVING, "lose": 1, "cut": 1, "mend": 2, "hide": 2}


class Archive:
    """A consumer: what it has processed, wherever it was connected.

    Attributes:
        recorders: Its connections, alive or not, the newest last.
        processed: Which events it has done, by session.
        cursor: Of the record that it did last.
    """

    def __init__(self, name: str, stage: Stage) -> None:
        self.name = name
        self._stage = stage
        self.recorders: list[Recorder] = []
        self.processed: dict[SessionId, set[int]] = defaultdict(set)
        self.cursor: str | None = None
        self._done: dict[Recorder, int] = defaultdict(int)

    @property
    def open(self) -> list[Recorder]:
        return [recorder for recorder in self.recorders if recorder.closed is None and recorder.subscribed is not None]

    async def subscribe(self, station: Station, after: str | None = None) -> None:
        recorder = station.connection()
        self.recorders.append(recorder)
        with suppress(UnavailableError):
            await recorder.subscribe(self.name, after)

    def process(self, recorder: Recorder, number: int) -> None:
        """Do its records up to the `number`-th: none may come before what belongs before it."""
        for cursor, event in recorder.records[self._done[recorder] : number]:
            session, seq = event["sessionId"], event["seq"]
            if seq not in self.processed[session]:
                missing = [item for item in self._stage.expected(session) if item < seq]
                assert self.processed[session].issuperset(missing), f"{session}: {seq} came too early"
                self.processed[session].add(seq)
            self.cursor = cursor
        self._done[recorder] = max(number, self._done[recorder])

    async def ack(self, recorder: Recorder, number: int) -> None:
        if number == 0:
            return
        self.process(recorder, number)
        with suppress(CoordinatorError):  # it may repeat that, or not
            await recorder.ack(number)

    def check(self) -> None:
        """Check that it has everything."""
        for session in self._stage.commits:
            assert self.processed[session] == set(self._stage.expected(session))


class Schedule:
    """One random schedule on one stage."""

    def __init__(self, stage: Stage, seed: int, *, cursors: bool = False) -> None:
        self.dice = random.Random(seed)
        self.stage = stage
        self.cursors = cursors
        self.sessions = [stage.session() for _ in range(3)]
        self.nodes = 0
        self.stations = [self.start_node(), self.start_node()]
        self.archives = [Archive("archive", stage), Archive("backup", stage)]

    def start_node(self) -> Station:
        self.nodes += 1
        return self.stage.station(f"node{self.nodes}")

    async def run(self, actions: dict[str, int]) -> None:
        for session in self.sessions:
            await self.stage.write(session, *[self.bodies() for _ in range(self.dice.randint(0, 5))])
        await self.stage.live(*self.sessions)
        for archive in self.archives:
            await archive.subscribe(self.dice.choice(self.stations))
        for _ in range(STEPS):
            action = self.dice.choices(list(actions), list(actions.values()))[0]
            await getattr(self, f"do_{action}")()
            for _ in range(self.dice.choice((0, 1, 3, 10, 100))):
                await asyncio.sleep(0)

    async def end(self) -> None:
        """Let everybody get what is left."""
        for station in self.stations:
            station.cable.is_cut = False
        for session in self.sessions:
            await self.stage.write(session, fed())
        await self.stage.advance(3)  # who has been replaced by one that died since finds that out now
        for archive in self.archives:
            assert len(archive.open) <= 1
            if not archive.open:
                await archive.subscribe(self.stations[0])
            for _ in range(20):
                await self.stage.advance(3)
                for recorder in archive.open:
                    await archive.ack(recorder, len(recorder.records))
            archive.check()

    def bodies(self) -> Sequence[EventBody]:
        kinds = [self.dice.choice((fed, unfed))() for _ in range(self.dice.choice((1, 1, 2, 5)))]
        return [body for bodies in kinds for body in bodies]

    async def do_write(self) -> None:
        if self.dice.random() < 0.15:
            self.sessions.append(self.stage.session())
        chosen = self.dice.sample(self.sessions, self.dice.randint(1, min(4, len(self.sessions))))
        await self.stage.journal.append([self.stage.make(session, self.bodies()) for session in chosen])

    async def do_flash(self) -> None:
        """A session is over before anybody looks; there will be no later commit that shows a gap."""
        session = self.stage.session()
        for bodies in (self.bodies(), [*self.bodies(), ENDED]):
            await self.stage.journal.append([self.stage.make(session, bodies)])

    async def do_hide(self) -> None:
        await self.stage.hide(self.dice.choice(self.sessions), self.bodies())

    async def do_ack(self) -> None:
        archive = self.dice.choice(self.archives)
        if archive.open:
            recorder = self.dice.choice(archive.open)
            await archive.ack(recorder, self.dice.randint(0, len(recorder.records)))

    async def do_pass(self) -> None:
        await self.stage.advance(self.dice.choice((0.2, 1, 3, 12)))

    async def do_leave(self) -> None:
        for recorder in self.dice.choice(self.archives).open:
            recorder.drop()

    async def do_subscribe(self) -> None:
        archive = self.dice.choice(self.archives)
        after = archive.cursor if self.cursors and self.dice.random() < 0.7 else None
        await archive.subscribe(self.dice.choice(self.stations), after)

    async def do_crash(self) -> None:
        index = self.dice.randrange(len(self.stations))
        station = self.stations[index]
        for archive in self.archives:
            for recorder in archive.open:
                if recorder.station is station:
                    recorder.closed = "the node has died"
        await station.crash()
        self.stations[index] = self.start_node()

    async def do_lose(self) -> None:
        self.stage.stream.lose()

    async def do_cut(self) -> None:
        self.dice.choice(self.stations).cable.is_cut = True

    async def do_mend(self) -> None:
        for station in self.stations:
            station.cable.is_cut = False


@pytest.mark.parametrize("seed", SEEDS)
async def test_while_nothing_goes_wrong_everything_comes_exactly_once(seed: int) -> None:
    async with staged() as stage:
        schedule = Schedule(stage, seed)
        await schedule.run(QUIET)
        await schedule.end()
        for archive in schedule.archives:
            assert len(archive.recorders) == 1
            for session in stage.commits:
                assert archive.recorders[0].seqs(session) == stage.expected(session)


@pytest.mark.parametrize("seed", SEEDS)
async def test_whoever_leaves_or_dies_nothing_is_missed(seed: int) -> None:
    async with staged() as stage:
        schedule = Schedule(stage, seed)
        await schedule.run(LEAVING)
        await schedule.end()


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_lost_nothing_is_missed(seed: int) -> None:
    async with staged() as stage:
        schedule = Schedule(stage, seed)
        await schedule.run(TROUBLE)
        await schedule.end()


@pytest.mark.parametrize("seed", SEEDS)
async def test_who_keeps_cursors_of_its_own_misses_nothing(seed: int) -> None:
    async with staged() as stage:
        schedule = Schedule(stage, seed, cursors=True)
        await schedule.run({**TROUBLE, "hide": 0})
        await schedule.end()
