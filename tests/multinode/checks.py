"""What must be true of every session in the end, whatever was killed: the journal, what was told, what is stored."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.system import SystemClock
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import find_flaws
from coordinator.services.verifier import Verifier
from tests.multinode.roaming import RoamingClient

_FOLLOWED_SECONDS = 20
_LOOK_SECONDS = 0.02
_ARRIVALS = ("participant_joined", "participant_reconnected")
_DEPARTURES = ("participant_disconnected", "participant_left")


async def journal_of(database: Database, session_id: SessionId, after: int = 0) -> list[dict[str, Any]]:
    """Return a session's events later than `after`, as they are shown to everybody."""
    return [json.loads(sealed.json) for sealed in await MongoJournal(database).events_after(session_id, after)]


def present(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return who is present after all these events, each with the connection that is said to be there."""
    connections: dict[str, str] = {}
    for event in events:
        if event["type"] in _ARRIVALS:
            connections[event["data"]["userId"]] = event["data"]["connectionId"]
        elif event["type"] in _DEPARTURES:
            connections.pop(event["data"]["userId"], None)
    return connections


async def until_present(database: Database, session_id: SessionId, users: set[str], seconds: float) -> float:
    """Wait until these users are present, and nobody else; return how long that took."""
    events = await journal_of(database, session_id)  # a long one takes its time, which does not count
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(seconds):
            while present(events).keys() != users:
                await SystemClock().sleep(_LOOK_SECONDS)
                events += await journal_of(database, session_id, events[-1]["seq"])
    except TimeoutError:
        found = present(events).keys()
        problem = f"ghosts: {sorted(found - users)}, missing: {sorted(users - found)}"
        raise AssertionError(f"{problem}, after {seconds} s") from None
    return loop.time() - began


async def check_session(database: Database, session_id: SessionId, clients: Sequence[RoamingClient]) -> None:
    """Check a session that has ended against its journal: proofs, documents, and what its clients were told."""
    journal = MongoJournal(database)
    assert find_flaws(session_id, await journal.stored(session_id)) == []
    events = await journal_of(database, session_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = Counter(event["type"] for event in events)
    assert (kinds["session_opened"], kinds["session_started"], kinds["session_ended"]) == (1, 1, 1)
    assert present(events) == {}
    for client in clients:
        assert client.faults == [], f"{client.user}: {client.faults}"
        assert client.received == events[client.first : client.seq], f"{client.user} was told something else"
        _check_promises(client, events)
    verifier = Verifier(journal, MongoProjections(database), SystemClock())
    async with asyncio.timeout(_FOLLOWED_SECONDS):
        while flaws := (await verifier.verify(session_id, repair=False)).flaws:
            assert flaws  # the documents follow


def _check_promises(client: RoamingClient, events: Sequence[Mapping[str, Any]]) -> None:
    """Check that after each acked `seq` the journal says of the user what the ack promised."""
    values: list[bool] = []
    value = False
    for event in events:
        if event["data"].get("userId") == client.user:
            value = client.value_after(event, value)
        values.append(value)
    for seq, promised in client.acked:
        assert values[seq - 1] is promised, f"{client.user} was told {promised} at {seq}"


async def registrations(database: Database, session_id: SessionId) -> dict[str, str]:
    """Return the status of each registration for a session's slot."""
    slot = await database.timeslots.find_one({"sessionId": ObjectId(session_id)})
    assert slot is not None
    found = await database.registrations.find({"timeSlotId": slot["_id"]}).to_list(None)
    return {item["userId"]: item["status"] for item in found}


async def check_attendance(database: Database, session_id: SessionId) -> dict[str, str]:
    """Wait until the attendance of an ended session is recorded, and check it; return it."""
    there = {e["data"]["userId"] for e in await journal_of(database, session_id) if e["type"] == "participant_joined"}
    found: dict[str, str] = {}
    async with asyncio.timeout(_FOLLOWED_SECONDS):
        while "registered" in (found := await registrations(database, session_id)).values():
            await SystemClock().sleep(_LOOK_SECONDS)
    assert there < found.keys(), "somebody was registered and stayed away"
    assert found == {user: "attended" if user in there else "noshow" for user in found}
    return found
