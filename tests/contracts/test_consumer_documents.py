"""Where the marks of a consumer stand in MongoDB, and that none is lost on the way from its document to `marks`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.database import Database as SyncDatabase
from pymongo.errors import WriteError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.consumers import RECENT_MARKS, MongoConsumers
from coordinator.adapters.mongo.schema import prepare
from coordinator.domain.ids import ConnectionId, SessionId
from tests.contracts.making import NOON, OTHER_OWNER, OWNER, consumer, new_session_id
from tests.database import open_database, server_url

Raw = SyncDatabase[dict[str, Any]]
ROOM = 8
"""How many marks may stand in a document here."""
STAYING = 6
"""How many are left there by an advance after which there were more."""


@pytest.fixture
def here(database: Database) -> MongoConsumers:
    """The consumers as one node has them."""
    return MongoConsumers(database, recent_marks=ROOM)


@pytest.fixture
async def there(database: Database) -> AsyncIterator[MongoConsumers]:
    """The same consumers as another node has them."""
    other = open_database(database.name)
    yield MongoConsumers(other, recent_marks=ROOM)
    await other.close()


class Interloper(CommandListener):
    """Does something once, just before a consumer's document is written."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None

    @property
    def has_come(self) -> bool:
        return self.meanwhile is None

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get("update") == "consumers" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do."""


@pytest.fixture
def interloper() -> Interloper:
    return Interloper()


@pytest.fixture
async def slow(database: Database, interloper: Interloper) -> AsyncIterator[MongoConsumers]:
    """The same consumers on a node that is so slow that something can come between what it reads and what it writes."""
    watched: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        server_url(), io_loop=asyncio.get_running_loop(), tz_aware=True, event_listeners=[interloper]
    )
    other = Database(watched, database.name)
    yield MongoConsumers(other, recent_marks=ROOM)
    await other.close()


async def advance(
    consumers: MongoConsumers, marks: Mapping[SessionId, int], owner: ConnectionId = OWNER, cursor: str = "s.next"
) -> bool:
    return await consumers.advance("recorder", owner, cursor=cursor, marks=marks, up_to=NOON, is_caught_up=False)


def new_sessions(count: int) -> list[SessionId]:
    return [new_session_id() for _ in range(count)]


def recent(raw: Raw) -> dict[str, int]:
    document = raw["consumers"].find_one({"_id": "recorder"})
    assert document is not None
    marks: dict[str, int] = document["recent"]
    return marks


def put_away(raw: Raw) -> dict[str, int]:
    return {str(mark["sessionId"]): mark["seq"] for mark in raw["marks"].find({})}


def refuse_changes(raw: Raw) -> None:
    """Let no consumer be written any more: whoever tries ends where a crash might have ended it."""
    raw.command({"collMod": "consumers", "validator": {"$jsonSchema": {"required": ["nothing has this"]}}})


async def test_what_fits_into_the_document_is_written_nowhere_else(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    sessions = new_sessions(ROOM)
    for seq in (1, 2):
        assert await advance(here, dict.fromkeys(sessions, seq))
        assert recent(raw) == dict.fromkeys(sessions, seq)
    assert put_away(raw) == {}


async def test_as_many_as_may_be_unacked_fit(database: Database, raw: Raw) -> None:
    consumers, sessions = MongoConsumers(database), new_sessions(RECENT_MARKS)
    await consumers.begin(consumer())
    assert await advance(consumers, dict.fromkeys(sessions, 1))
    assert put_away(raw) == {}
    assert await advance(consumers, {new_session_id(): 1})
    assert len(recent(raw)) == RECENT_MARKS * 3 // 4
    assert list(put_away(raw)) == sessions[: RECENT_MARKS // 4 + 1]


async def test_those_that_have_not_moved_for_longest_are_put_away(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    sessions = new_sessions(ROOM)
    assert await advance(here, dict.fromkeys(sessions, 1))
    assert await advance(here, {sessions[0]: 2})
    assert await advance(here, {sessions[2]: 1})  # again, but not further
    newest = new_session_id()
    assert await advance(here, {newest: 5})
    assert put_away(raw) == dict.fromkeys([sessions[1], *sessions[3:5]], 1)
    assert list(recent(raw)) == [*sessions[5:], sessions[0], sessions[2], newest]
    assert await here.marks("recorder") == dict.fromkeys(sessions, 1) | {sessions[0]: 2, newest: 5}


async def test_more_than_fit_at_all_are_put_away_at_once(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    marks = {session_id: number for number, session_id in enumerate(new_sessions(100))}
    assert await advance(here, marks)
    assert (len(recent(raw)), len(put_away(raw))) == (STAYING, 100 - STAYING)
    assert await here.marks("recorder") == marks


async def test_the_higher_of_two_marks_holds_wherever_it_stands(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    one, two = new_sessions(2)
    assert await advance(here, {one: 5, two: 5})
    assert await advance(here, dict.fromkeys(new_sessions(ROOM), 1))
    assert put_away(raw) | {one: 5, two: 5} == put_away(raw)
    assert await advance(here, {one: 4, two: 6})
    assert (recent(raw)[one], recent(raw)[two]) == (4, 6)
    for _ in range(2):  # where they stand now, and once these, too, have been put away
        assert await here.marks("recorder", [one, two]) == {one: 5, two: 6}
        assert await advance(here, dict.fromkeys(new_sessions(ROOM), 1))
    assert put_away(raw) | {one: 5, two: 6} == put_away(raw)
    assert recent(raw).keys().isdisjoint({one, two})


async def test_a_crash_after_marks_were_put_away_and_before_they_were_taken_out_loses_none(
    here: MongoConsumers, there: MongoConsumers, database: Database, raw: Raw
) -> None:
    await here.begin(consumer())
    sessions, more = new_sessions(ROOM), new_sessions(3)
    before = dict.fromkeys(sessions, 1)
    assert await advance(here, before)
    refuse_changes(raw)
    with pytest.raises(WriteError):
        await advance(here, dict.fromkeys(more, 7), cursor="s.lost")
    assert recent(raw) == before
    assert put_away(raw).items() < before.items()
    assert len(put_away(raw)) == ROOM + 3 - STAYING
    assert await there.marks("recorder") == before
    await prepare(database)
    claimed = await there.claim("recorder", OTHER_OWNER)
    assert claimed is not None
    assert claimed.cursor == "s.next"
    assert await advance(here, dict.fromkeys(more, 9)) is False  # the earlier owner, if it was only slow
    assert recent(raw) == before
    further = {sessions[0]: 2, sessions[-1]: 2} | dict.fromkeys(more, 7)
    assert await advance(there, further, OTHER_OWNER)
    assert len(recent(raw)) == STAYING
    assert await there.marks("recorder") == before | further


async def test_two_nodes_that_take_turns_keep_all_marks(here: MongoConsumers, there: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    expected: dict[SessionId, int] = {}
    lasting = new_sessions(3)
    for turn in range(1, 13):
        node, owner = ((here, OWNER), (there, OTHER_OWNER))[turn % 2]
        claimed = await node.claim("recorder", owner)
        assert claimed is not None
        assert claimed.cursor == (f"s.{turn - 1}" if turn > 1 else consumer().cursor)
        marks = dict.fromkeys([*lasting, *new_sessions(2)], turn)
        assert await advance(node, marks, owner, f"s.{turn}")
        expected |= marks
        for reader in (here, there):
            assert await reader.marks("recorder") == expected
    assert put_away(raw).keys().isdisjoint(lasting)
    assert len(recent(raw)) <= ROOM


async def test_an_owner_that_is_too_late_takes_nothing_from_the_next(
    here: MongoConsumers, there: MongoConsumers
) -> None:
    await here.begin(consumer())
    expected: dict[SessionId, int] = {}
    for turn in range(1, 16):
        late, newer = dict.fromkeys(new_sessions(5), turn), dict.fromkeys(new_sessions(5), turn)
        await here.claim("recorder", OWNER)

        async def take_over(marks: Mapping[SessionId, int] = newer) -> bool:
            await there.claim("recorder", OTHER_OWNER)
            return await advance(there, marks, OTHER_OWNER)

        was_in_time, took_over = await asyncio.gather(advance(here, late), take_over())
        assert took_over
        expected |= newer | (late if was_in_time else {})
        marks = await here.marks("recorder")
        assert marks.items() >= expected.items()
        # Of a late one some may be put away before it is found out. They are true: its consumer has acked them.
        assert marks.items() <= (expected | late).items()
        expected = dict(marks)


@pytest.mark.parametrize("count", [1, ROOM, 3 * ROOM])
async def test_an_owner_that_loses_the_consumer_before_it_writes_moves_nothing(
    slow: MongoConsumers, interloper: Interloper, raw: Raw, count: int
) -> None:
    await slow.begin(consumer())
    before = dict.fromkeys(new_sessions(ROOM), 1)
    assert await advance(slow, before)
    interloper.meanwhile = lambda: raw["consumers"].update_one({}, {"$set": {"owner": OTHER_OWNER}})
    assert await advance(slow, dict.fromkeys(new_sessions(count), 1), cursor="s.lost") is False
    assert interloper.has_come
    assert recent(raw) == before
    assert [item.cursor for item in await slow.all()] == ["s.next"]
    assert (await slow.marks("recorder")).items() >= before.items()


@pytest.mark.parametrize("count", [1, ROOM, 3 * ROOM])
async def test_marks_that_others_write_meanwhile_stay(
    slow: MongoConsumers, interloper: Interloper, raw: Raw, count: int
) -> None:
    await slow.begin(consumer())
    early, late, new = *new_sessions(2), dict.fromkeys(new_sessions(count), 1)
    assert await advance(slow, {early: 1})
    change = {"$set": {f"recent.{early}": 2, f"recent.{late}": 2}}
    interloper.meanwhile = lambda: raw["consumers"].update_one({}, change)
    assert await advance(slow, new)
    assert interloper.has_come
    assert await slow.marks("recorder") == {early: 2, late: 2, **new}


@pytest.mark.parametrize("count", [1, ROOM, 3 * ROOM])
async def test_what_is_written_after_a_new_beginning_has_its_marks(
    slow: MongoConsumers, interloper: Interloper, raw: Raw, count: int
) -> None:
    await slow.begin(consumer())
    new = dict.fromkeys(new_sessions(count), 1)
    interloper.meanwhile = lambda: raw["consumers"].update_one({}, {"$set": {"beginning": ObjectId()}})
    assert await advance(slow, new)
    assert interloper.has_come
    assert await slow.marks("recorder") == new


async def test_beginning_anew_while_marks_are_put_away_leaves_none(here: MongoConsumers, there: MongoConsumers) -> None:
    async def begin_anew() -> bool:
        await there.claim("recorder", OTHER_OWNER)
        return await there.begin(consumer(owner=OTHER_OWNER))

    for _ in range(10):
        await here.claim("recorder", OWNER)
        assert await here.begin(consumer())
        assert await advance(here, dict.fromkeys(new_sessions(ROOM), 1))
        _, did = await asyncio.gather(advance(here, dict.fromkeys(new_sessions(ROOM), 2)), begin_anew())
        assert did
        assert await there.marks("recorder") == {}


async def test_sessions_that_are_gone_are_taken_from_both_places(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer("another"))
    await here.begin(consumer())
    sessions = new_sessions(ROOM + 1)
    assert await advance(here, dict.fromkeys(sessions, 1))
    assert await advance(here, {sessions[0]: 2})  # now it stands in both
    assert sessions[0] in put_away(raw)
    await here.forget_sessions({sessions[0], sessions[1], sessions[-1], new_session_id()})
    left = sessions[2:-1]
    assert put_away(raw).keys() | recent(raw).keys() == set(left)
    assert await here.marks("recorder") == dict.fromkeys(left, 1)
    assert await here.marks("another") == {}
    await here.forget_sessions(set(left))
    assert await here.marks("recorder") == {}
    assert await advance(here, {sessions[0]: 3})
    assert await here.marks("recorder") == {sessions[0]: 3}


async def test_a_session_that_is_forgotten_while_marks_are_written_takes_no_other_with_it(
    here: MongoConsumers, there: MongoConsumers
) -> None:
    await here.begin(consumer())
    for _ in range(15):
        gone, *sessions = new_sessions(4)
        assert await advance(here, dict.fromkeys([gone, *sessions], 1))
        advanced, _ = await asyncio.gather(advance(here, dict.fromkeys(sessions, 2)), there.forget_sessions({gone}))
        assert advanced
        assert await here.marks("recorder", sessions) == dict.fromkeys(sessions, 2)


async def test_what_is_forgotten_leaves_nothing(here: MongoConsumers, raw: Raw) -> None:
    await here.begin(consumer())
    assert await advance(here, dict.fromkeys(new_sessions(3 * ROOM), 1))
    assert await here.forget("recorder")
    assert (raw["consumers"].count_documents({}), raw["marks"].count_documents({})) == (0, 0)


async def test_a_consumer_whose_document_has_no_recent_marks_goes_on(here: MongoConsumers, raw: Raw) -> None:
    """As an earlier version wrote it."""
    beginning, session_id = ObjectId(), new_session_id()
    begun = consumer()
    raw["consumers"].insert_one(
        {
            "_id": begun.name,
            "owner": begun.owner,
            "cursor": begun.cursor,
            "exact": True,
            "upTo": begun.up_to,
            "beginning": beginning,
        }
    )
    raw["marks"].insert_one(
        {"consumer": begun.name, "beginning": beginning, "sessionId": ObjectId(session_id), "seq": 4}
    )
    assert await here.claim("recorder", OWNER) == begun
    assert await here.marks("recorder") == {session_id: 4}
    assert await advance(here, {session_id: 6})
    assert await here.marks("recorder") == {session_id: 6}
    assert put_away(raw) == {session_id: 4}
