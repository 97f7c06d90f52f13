"""On a sharded cluster: what is asked often names the shard key, and what does not is known, with how often."""

import inspect as introspection
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from msgspec.structs import replace

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.commit_stream import MongoCommitStream
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.replies import MongoReplies
from coordinator.adapters.mongo.shapes import COLLECTIONS, ShardKey
from coordinator.domain.ids import NodeId, SlotId, UserId
from coordinator.domain.model import Language, Level, Recurrence, RegistrationStatus, SessionStatus
from coordinator.ports.bookings import Bookings, RegistrationQuery, SeatTakenError
from coordinator.ports.catalog import Catalog, SlotQuery
from coordinator.ports.commit_stream import CommitStream
from coordinator.ports.consumers import Consumers
from coordinator.ports.journal import Journal
from coordinator.ports.liveness import Liveness
from coordinator.ports.projections import Projections, SessionQuery
from coordinator.ports.replies import Replies, Reply
from tests.contracts.asked import Asked, CommandRecorder, is_targeted, parts
from tests.contracts.claiming import claim
from tests.contracts.making import (
    ANNA,
    BEN,
    MOMENT,
    NOON,
    OTHER_OWNER,
    OWNER,
    chain,
    commit,
    consumer,
    full_session,
    new_session_id,
    new_slot_id,
    participant,
    registration,
    series,
    session,
    slot,
    toggles,
)
from tests.contracts.scattered import PERIODIC, SCATTERED, Place
from tests.transports.harness import running_live

DAY = timedelta(days=1)
BUSY = {shape.name for shape in COLLECTIONS if shape.is_busy}


class Caller:
    """A port whose calls are noted as what asks the database."""

    def __init__(self, recorder: CommandRecorder, port: type, adapter: object) -> None:
        self._recorder = recorder
        self._port = port
        self._adapter = adapter
        self.called: set[str] = set()

    def __getattr__(self, method: str) -> Any:
        self.called.add(method)
        self._recorder.operation = f"{self._port.__name__}.{method}"
        return getattr(self._adapter, method)

    def forgotten(self) -> set[str]:
        """The port's methods that have not been called."""
        methods = introspection.getmembers(self._port, introspection.isfunction)
        return {name for name, _ in methods if not name.startswith("_")} - self.called


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> CommandRecorder:
    """Hears every command of every client that `connect` opens from here on."""
    heard = CommandRecorder()
    listening = partial(AsyncIOMotorClient, event_listeners=[heard])
    monkeypatch.setattr("coordinator.adapters.mongo.client.AsyncIOMotorClient", listening)
    return heard


@pytest.fixture
def call(recorder: CommandRecorder, database: Database) -> Iterator[Callable[[type, object], Any]]:
    """Wrap an adapter so that its calls are noted; in the end, each method must have been called."""
    recorder.database_name = database.name
    callers: list[Caller] = []

    def wrap(port: type, adapter: object) -> Caller:
        callers.append(Caller(recorder, port, adapter))
        return callers[-1]

    yield wrap
    assert {caller._port.__name__: caller.forgotten() for caller in callers if caller.forgotten()} == {}


def scattered(asked: Iterable[Asked]) -> set[Place]:
    return {Place(item.collection, item.operation, item.fields) for item in asked if not item.is_targeted}


def expected(*ports: type) -> set[Place]:
    names = {port.__name__ for port in ports}
    return {place for place in SCATTERED if place.operation.partition(".")[0] in names}


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def test_of_the_journal_only_what_looks_at_all_goes_to_every_shard(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    journal = call(Journal, MongoJournal(database))
    ids = [new_session_id(), new_session_id()]
    logs = [chain(session_id, [3, 2, 4]) for session_id in ids]
    for commits in zip(*logs, strict=True):
        await journal.append(commits)
    first = logs[0]
    await journal.append([first[2], commit(ids[1], toggles(2), seq=4)])  # repeated, and somebody else's place
    assert await journal.written([first[0].id]) == {first[0].id}
    assert await journal.replace(first[1])
    assert len(await journal.read(ids[0], after=3)) == 2
    assert len(await journal.events_after(ids[0], 4)) == 5
    assert len(await journal.events_after(ids[0], 4, 2)) == 2
    assert len(await all_of(journal.session_ids())) == 2
    assert len(await journal.stored(ids[0])) == 3
    assert await journal.head(ids[0]) is not None
    assert await journal.mentions(ids[0], ANNA, ["mic_changed"])
    await journal.expired(NOON + DAY, 10)
    await journal.discard(ids[0])
    assert await journal.read(ids[0]) == []
    assert scattered(recorder.asked) == expected(Journal)
    assert {item.command for item in recorder.asked} == {"insert", "find", "update", "delete", "aggregate"}


async def test_the_commit_stream_is_asked_of_all_shards_once_for_each_reader(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    stream = await call(CommitStream, MongoCommitStream(database)).open()
    try:
        recorder.operation = "a writer"
        await MongoJournal(database).append(chain(new_session_id(), [1]))
        recorder.operation = "the reader"
        assert len(await stream.read()) == 1
    finally:
        await stream.close()
    assert scattered(recorder.asked) == expected(CommitStream)


async def test_of_the_projections_no_write_of_a_live_room_goes_to_every_shard(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    projections = call(Projections, MongoProjections(database))
    live, ended = session(next_deadline=NOON), full_session()
    members = [participant(item.id, user) for item in (live, ended) for user in (ANNA, BEN)]
    await projections.write([live, ended], members)
    await projections.write([replace(live, seq=2)], [replace(members[0], seq=3)])
    assert scattered(recorder.asked) == set()
    await projections.rebuild(ended, members[2:])
    await projections.rebuild_participants(live.id, members[:2])
    assert await projections.session(live.id) == replace(live, seq=2)
    assert len(await projections.participants(live.id)) == 2
    assert len(await all_of(projections.session_ids())) == 4
    assert len(await projections.sessions_of(ANNA, None, 10)) == 2
    await projections.sessions_of(ANNA, live.id, 10)
    assert len(await projections.page(SessionQuery())) == 2
    await projections.page(SessionQuery(after=(NOON, live.id)))
    assert len(await projections.page(SessionQuery(slot_id=live.time_slot_id))) == 2
    await projections.page(SessionQuery(status=SessionStatus.WAITING, target_language_code=Language.FRENCH))
    assert await projections.seqs([live.id]) == {live.id: 2}
    assert await projections.live() == [live.id]
    assert await projections.due(NOON, 10) == [live.id]
    await projections.discard(ended.id)
    assert scattered(recorder.asked) == expected(Projections)


async def test_of_the_bookings_only_what_is_asked_for_a_user_goes_to_every_shard(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    bookings = call(Bookings, MongoBookings(database))
    slot_id = new_slot_id()
    anna, ben = registration(slot_id, ANNA, seat=0), registration(slot_id, BEN, seat=1)
    await bookings.add(anna)
    await bookings.add(ben)
    with pytest.raises(SeatTakenError):
        await bookings.add(registration(slot_id, UserId("cleo"), seat=1))
    assert await bookings.cancel(slot_id, ANNA, NOON + MOMENT)
    cancelled = await bookings.find(slot_id, ANNA)
    assert cancelled is not None
    again = replace(anna, registered_at=NOON + 2 * MOMENT)
    with pytest.raises(SeatTakenError):
        await bookings.revive(replace(again, seat=1))
    assert await bookings.revive(again)
    await bookings.take_back(again, cancelled)
    assert await bookings.find(slot_id, ANNA) == cancelled
    assert await bookings.is_registered(slot_id, BEN)
    assert await bookings.holders(slot_id) == [ben]
    assert await bookings.slots_of(BEN) == {slot_id}
    assert await bookings.booked({slot_id, new_slot_id()}) == {slot_id}
    registered = RegistrationStatus.REGISTERED
    for query in (
        RegistrationQuery(slot_id=slot_id),
        RegistrationQuery(slot_id=slot_id, user_id=BEN, status=registered, after="0" * 24),
        RegistrationQuery(user_id=BEN),
        RegistrationQuery(user_id=BEN, status=registered, after="0" * 24),
    ):
        assert ben in await bookings.page(query)
    await bookings.record_attendance(slot_id, {BEN})
    await bookings.cancel_all(slot_id, NOON)
    await bookings.take_back(ben, None)
    assert await bookings.find(slot_id, BEN) is None
    assert await bookings.rename(ANNA, UserId("erased-1")) == 1
    assert scattered(recorder.asked) == expected(Bookings)


async def test_of_the_catalogue_all_but_lists_and_ticks_names_the_slot_or_series(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    catalog = call(Catalog, MongoCatalog(database))
    offered = slot(recurrence=Recurrence.DAILY)
    await catalog.add_slot(offered)
    assert await catalog.slot(offered.id) == offered
    assert await catalog.slots({offered.id}) == [offered]
    assert await catalog.slots_to_adopt(5) == [offered]
    await catalog.adopt_slot(offered.id, offered.id, 0)
    everything = SlotQuery(start_from=NOON - DAY, start_until=NOON + DAY)
    for query in (
        everything,
        replace(everything, after=(NOON - DAY, SlotId("0" * 24))),
        replace(everything, series_id=offered.id),
        replace(
            everything,
            target_language_code=offered.target_language_code,
            level=offered.level,
            is_active=True,
        ),
    ):
        assert len(await catalog.page(query)) == 1
    assert len(await catalog.active_slots(NOON, NOON)) == 1
    later = replace(offered, level=Level.A1, updated_at=NOON)
    assert await catalog.change_slot(later, offered.updated_at, unopened=True)
    assert await catalog.set_registered_count(offered.id, 0, 3)
    assert await claim(catalog, later, new_session_id()) is not None
    (unsettled,) = await catalog.unsettled(NOON + DAY, 5)
    await catalog.settle(offered.id, unsettled.settle_at, NOON + DAY)
    await catalog.settle(offered.id, NOON + DAY)
    repeated = series(next_start=NOON)
    await catalog.add_series(repeated)
    assert await catalog.series(repeated.id) == repeated
    assert await catalog.change_series(replace(repeated, next_number=15), repeated.updated_at)
    assert len(await catalog.due_series(NOON, 5)) == 1
    assert scattered(recorder.asked) == expected(Catalog)


async def test_of_the_consumers_acks_name_the_consumer(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    consumers = call(Consumers, MongoConsumers(database, recent_marks=1))
    begun = consumer()
    assert await consumers.begin(begun)
    assert await consumers.claim(begun.name, OTHER_OWNER) is not None
    assert await consumers.claim(begun.name, OWNER) is not None
    ids = [new_session_id() for _ in range(3)]
    for seq in (1, 2, 3):  # the second and third time, marks that were put away are raised
        marks = dict.fromkeys(ids, seq)
        ack = {"cursor": f"s.{seq}", "marks": marks, "up_to": NOON, "is_caught_up": seq == 3}
        assert await consumers.advance(begun.name, OWNER, **ack)
    assert await consumers.marks(begun.name) == dict.fromkeys(ids, 3)
    assert await consumers.marks(begun.name, ids[:1]) == {ids[0]: 3}
    assert await consumers.owners([begun.name]) == {begun.name: OWNER}
    assert await consumers.begin(begun)
    assert len(await consumers.all()) == 1
    await consumers.forget_sessions(set(ids))
    assert await consumers.forget(begun.name)
    assert scattered(recorder.asked) == expected(Consumers)


async def test_replies_and_heartbeats_are_written_by_their_key(
    call: Callable[[type, object], Any], database: Database, recorder: CommandRecorder
) -> None:
    replies = call(Replies, MongoReplies(database))
    assert await replies.remember("key", "fingerprint", NOON) is None
    assert await replies.remember("key", "fingerprint", NOON) is not None
    await replies.keep("key", Reply(status=200, headers={}, body=b"{}"))
    await replies.release("key")
    assert scattered(recorder.asked) == expected(Replies) == set()
    liveness = call(Liveness, MongoLiveness(database))
    await liveness.beat(NodeId("node"), NOON)
    assert await liveness.heartbeats() == {NodeId("node"): NOON}
    await liveness.forget(NodeId("node"))
    assert scattered(recorder.asked) == expected(Liveness)


def test_every_scattered_query_belongs_to_a_method_of_a_port() -> None:
    ports = (Journal, CommitStream, Projections, Bookings, Catalog, Consumers, Replies, Liveness)
    assert expected(*ports) == set(SCATTERED)
    for place in SCATTERED:
        port = next(port for port in ports if port.__name__ == place.operation.partition(".")[0])
        assert hasattr(port, place.operation.partition(".")[2])


async def test_no_command_and_no_join_of_a_live_room_goes_to_every_shard(recorder: CommandRecorder) -> None:
    async with running_live({"session.require_registration": True}) as live:
        offer = await live.offer("ada", "bo")
        recorder.database_name = live.database.name
        ada = await live.join("ada", offer.session_id)
        bo = await live.join("bo", offer.session_id)
        await ada.wait_for("session_started")
        for client, values in ((ada, {"cameraEnabled": True}), (bo, {"micEnabled": True})):
            assert (await client.call("set_media", values))["ok"]
        assert (await bo.call("set_recording_consent", {"granted": True}))["ok"]
        assert (await ada.call("leave", {}))["ok"]
        await ada.join(offer.session_id, after=2)
        await live.coordinator.rooms.write_documents()
        busy = [item for item in recorder.asked if item.collection in BUSY]
    assert {"events", "participants", "sessions", "registrations"} == {item.collection for item in busy}
    loose = {(item.collection, item.fields) for item in busy if not item.is_targeted}
    assert loose <= PERIODIC
    places = {(place.collection, place.fields) for place in SCATTERED}
    assert places >= PERIODIC


HASHED, ORDERED = ShardKey(("a",)), ShardKey(("a", "b"), is_hashed=False)


@pytest.mark.parametrize(
    ("key", "query", "one", "many"),
    [
        (HASHED, {"a": 1}, True, True),
        (HASHED, {"a": ObjectId(), "b": {"$gt": 1}}, True, True),
        (HASHED, {"a": {"$in": [1, 2]}}, False, True),
        (HASHED, {"a": {"$gt": 1}}, False, False),
        (HASHED, {"a": {"$nin": [1]}}, False, False),
        (HASHED, {"b": 1}, False, False),
        (HASHED, {}, False, False),
        (ORDERED, {"a": 1, "b": 2}, True, True),
        (ORDERED, {"a": 1}, False, True),
        (ORDERED, {"a": 1, "b": {"$in": [2]}}, False, True),
        (ORDERED, {"b": 1}, False, False),
    ],
)
def test_a_query_is_targeted_by_values_of_the_shard_key(
    key: ShardKey, query: dict[str, Any], one: bool, many: bool
) -> None:
    assert is_targeted(key, query, is_single=True) is one
    assert is_targeted(key, query, is_single=False) is many


def test_a_command_that_nobody_has_thought_about_is_told() -> None:
    assert parts("listIndexes", {"listIndexes": "events"}) == []
    with pytest.raises(AssertionError, match="mapReduce on events"):
        parts("mapReduce", {"mapReduce": "events"})
