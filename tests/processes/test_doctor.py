"""`coordinator doctor`, as an operator runs it: what it finds, and what it says to do about that."""

import re
from collections.abc import AsyncIterator

import pytest

from tests.processes.server import SECRET, run
from tests.redis_server import server_url as redis_url
from tests.router import Router, running_router

VARIABLES = {"COORDINATOR_AUTH__SECRET": SECRET, "COORDINATOR_SERVER__PORT": "0"}
RIGHT = {
    "registrations": {"timeSlotId": "hashed"},
    "sessions": {"_id": "hashed"},
    "participants": {"_id": "hashed"},
    "events": {"sessionId": "hashed"},
}


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    async with running_router() as running:
        yield running


async def doctor(router: Router, *options: str, code: int = 0, **variables: str) -> dict[str, list[str]]:
    """Run it on the database behind the router; return what it says of each subject, with what to do."""
    arguments = ["--mongo-url", router.url, *options]
    found, out, err = await run("doctor", *arguments, variables={**VARIABLES, **variables})
    assert (found, err) == (code, ""), out
    said: dict[str, list[str]] = {}
    for line in out.splitlines():
        if match := re.match(r"(ok|do)  (\w+): (.*)", line):
            said.setdefault(match[2], []).append(f"{match[1]} {match[3]}")
        else:
            next(reversed(said.values())).append(line.strip())
    return said


async def test_a_sharded_cluster_that_is_as_it_should_be_needs_nothing(router: Router) -> None:
    router.sharded = dict(RIGHT)
    said = await doctor(router)
    assert said.pop("settings") == [
        f"ok read without error; not as by default: server.port = 0, mongo.url = {router.url}, auth.secret = ***"
    ]
    assert said == {
        "secret": ["ok set"],
        "port": ["ok 127.0.0.1:0 is free"],
        "bus": ["ok redis.url is not set; a coordinator that is alone needs none"],
        "database": ["ok answers; it is a router of a sharded cluster"],
        "clock": ["ok agrees with the database's"],
        "collections": ["ok validators and indexes are as they should be"],
        "sharding": [
            (
                'ok as it should be: registrations by {timeSlotId: "hashed"}, sessions by {_id: "hashed"}, '
                'participants by {_id: "hashed"}, events by {sessionId: "hashed"}'
            ),
            "ok whole on one shard, where they should stay: timeslots, series, nodes, replies, consumers, marks",
        ],
        "nodes": ["ok 0 alive on this database"],
    }


async def test_a_wrong_shard_key_needs_doing(router: Router) -> None:
    router.sharded = {**RIGHT, "participants": {"userId": 1}}
    said = await doctor(router, "--data-dir", "unused", code=1, COORDINATOR_MONGO__DATABASE="rooms")
    assert said["sharding"][1].startswith('do participants by {userId: 1}, where {_id: "hashed"} is needed')
    assert said["sharding"][2] == 'in mongosh: sh.reshardCollection("rooms.participants", {_id: "hashed"})'


async def test_the_commands_of_sharding_are_shown_when_asked_for(router: Router) -> None:
    router.sharded = dict(RIGHT)
    said = await doctor(router, "--sharding")
    assert said["nodes"][1:] == [
        "In mongosh, on a router of a sharded cluster:",
        'db.getSiblingDB("conversation").registrations.createIndex({timeSlotId: "hashed"})',
        'sh.shardCollection("conversation.registrations", {timeSlotId: "hashed"})',
        'db.getSiblingDB("conversation").sessions.createIndex({_id: "hashed"})',
        'sh.shardCollection("conversation.sessions", {_id: "hashed"})',
        'db.getSiblingDB("conversation").participants.createIndex({_id: "hashed"})',
        'sh.shardCollection("conversation.participants", {_id: "hashed"})',
        'db.getSiblingDB("conversation").events.createIndex({sessionId: "hashed"})',
        'sh.shardCollection("conversation.events", {sessionId: "hashed"})',
    ]


@pytest.mark.parametrize(("behind", "said"), [(90.0, "90.0 s ahead of"), (-90.0, "90.0 s behind")])
async def test_a_clock_that_differs_needs_setting(router: Router, behind: float, said: str) -> None:
    router.behind_seconds = behind
    router.nodes = {"one": 1.0, "two": 100.0}  # by the database's clock
    found = await doctor(router, code=1)
    finding, remedy = found["clock"]
    assert finding == f"do {said} the database's"
    assert "NTP" in remedy
    assert found["nodes"] == [
        "ok 1 alive on this database, 1 silent: whichever runs or starts next lets go of their participants"
    ]


async def test_several_nodes_without_a_bus_are_told_what_that_costs(router: Router) -> None:
    router.nodes = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 20.0}
    finding, remedy = (await doctor(router, code=1))["nodes"]
    assert finding == (
        "do 3 alive on this database, 1 silent: whichever runs or starts next lets go of their participants, "
        "and redis.url is not set here"
    )
    assert "about half a second later" in remedy
    assert "signals" in remedy
    said = await doctor(router, COORDINATOR_SESSION__NODE_TIMEOUT_SECONDS="1.5")
    assert said["nodes"][0].startswith("ok 1 alive on this database, 3 silent")


async def test_a_bus_that_does_not_answer_is_named_without_its_password(router: Router) -> None:
    router.nodes = {"one": 1.0, "two": 2.0}
    said = await doctor(router, "--redis-url", "redis://:hidden@127.0.0.1:1/0", code=1)
    finding, remedy = said["bus"]
    assert finding.startswith("do ")
    assert "127.0.0.1:1" in finding
    assert "redis.url" in remedy
    assert said["nodes"] == ["ok 2 alive on this database"]
    assert "hidden" not in str(said)


async def test_a_bus_that_answers_is_right_also_for_several_nodes(router: Router) -> None:
    router.nodes = {"one": 1.0, "two": 2.0}
    said = await doctor(router, "--redis-url", redis_url())
    assert said["bus"] == ["ok Redis answers"]
    assert said["nodes"] == ["ok 2 alive on this database"]


async def test_a_redis_url_that_makes_no_sense_is_named(router: Router) -> None:
    said = await doctor(router, "--redis-url", "redis://127.0.0.1:none", code=1)
    finding, remedy = said["bus"]
    assert finding.startswith("do ")
    assert "redis.url" in remedy
