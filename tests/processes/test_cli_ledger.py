"""The commands that look after what is kept: `verify` and `consumers`, as real processes beside a coordinator."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import ObjectId

from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.domain.cursors import CatchUpCursor, Position, StreamCursor, cursor_text
from coordinator.domain.ids import ConnectionId
from coordinator.ports.consumers import Consumer
from tests.processes.server import SIGNED, ServerProcess, run
from tests.transports.harness import eventually

GONE = ConnectionId("0123456789ab-7")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.stop()


async def test_verify_names_commits_that_were_cut_off_and_leaves_the_trace(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    beside = ["--data-dir", str(server.data_dir)]
    async with server.database() as database:
        key = {"_id": ObjectId(session)}
        document = await eventually(lambda: database.sessions.find_one(key), "the session's document")
        await database.sessions.update_one(key, {"$set": {"seq": document["seq"] + 3}})
        for options in ([], ["--repair"]):
            code, out, _ = await run("verify", *options, *beside, variables=SIGNED)
            assert code == 1
            at, seen = document["seq"], document["seq"] + 3
            assert f"flaw session {session} seq {at + 1}: the journal ends at seq {at}, but the session document" in out
            assert f"has seen {seen}" in out
            assert "1 sessions, 1 commits, 1 events: 1 not as they should be" in out
        await database.sessions.delete_one(key)
    code, out, _ = await run("verify", "--repair", *beside, variables=SIGNED)
    assert code == 0
    assert "repaired" in out
    assert (await run("verify", *beside, variables=SIGNED))[0] == 0


async def test_consumers_lists_them_and_forgets_one(server: ServerProcess) -> None:
    beside = ["--data-dir", str(server.data_dir)]
    code, out, _ = await run("consumers", *beside, variables=SIGNED)
    assert (code, out) == (0, "nobody has read the feed yet\n")
    up_to = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    following, catching_up = StreamCursor(Position("p")), CatchUpCursor(Position("p"))
    async with server.database() as database:
        consumers = MongoConsumers(database)
        for name, cursor in (("recorder", following), ("audit", catching_up)):
            consumer = Consumer(
                name=name, owner=GONE, cursor=cursor_text(cursor), is_exact=True, scope=None, up_to=up_to
            )
            await consumers.begin(consumer)
    code, out, _ = await run("consumers", *beside, variables=SIGNED)
    audit, recorder = out.splitlines()
    assert code == 0
    assert audit.startswith("audit     lag 36")
    assert recorder.startswith("recorder  lag 36")
    rest = f"has acked everything up to {up_to:%Y-%m-%dT%H:%M:%S}.000Z  read last by {GONE}, whose coordinator is gone"
    assert audit.endswith(f"catching up, {rest}")
    assert recorder.endswith(f" s  {rest}")
    code, out, _ = await run("consumers", "--forget", "audit", *beside, variables=SIGNED)
    assert (code, out) == (0, "audit is forgotten\n")
    code, _, err = await run("consumers", "--forget", "audit", *beside, variables=SIGNED)
    assert (code, err) == (1, "there is no consumer audit\n")
    _, out, _ = await run("consumers", *beside, variables=SIGNED)
    assert [line.split()[0] for line in out.splitlines()] == ["recorder"]
