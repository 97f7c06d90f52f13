"""`/metrics`: the numbers that are promised, in a form that Prometheus reads, whatever is away (SPEC section 4)."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY

from coordinator.domain.ids import UserId
from coordinator.services.feed import ConsumerLag
from tests.transports.harness import Live
from tests.transports.http_api import HttpApi, check_headers, running_api

COUNTED = {
    "coordinator_rooms": "gauge",
    "coordinator_participants_present": "gauge",
    "coordinator_connections": "gauge",
    "coordinator_pending_commands": "gauge",
    "coordinator_commits": "counter",
    "coordinator_events": "counter",
    "coordinator_commit_conflicts": "counter",
    "coordinator_commits_heard": "counter",
    "coordinator_catch_ups": "counter",
}
OF_CONSUMERS = {f"coordinator_feed_consumer_{name}": "gauge" for name in ("lag_seconds", "unacked", "connected")}


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


def samples(text: str) -> dict[str, float]:
    """The numbers by name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def scrape(api: HttpApi) -> dict[str, float]:
    answer = await api.send("GET", "/metrics")
    assert answer.status == 200
    return samples(answer.body.decode())


async def test_every_metric_is_there_with_its_kind_and_words(api: HttpApi) -> None:
    answer = await api.send("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    check_headers(answer)
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    ours = {name: family.type for name, family in families.items() if name.startswith("coordinator_")}
    assert ours == COUNTED | OF_CONSUMERS
    assert all(family.documentation for family in families.values())
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "python_info"} <= set(families)


async def test_the_numbers_are_those_of_the_moment(api: HttpApi) -> None:
    before = await scrape(api)
    assert (before["coordinator_rooms"], before["coordinator_participants_present"]) == (0, 0)
    await api.session("ada", "bo", "cy")
    session = await api.session("dee", "emil")
    (client,) = await api.node.joined(session, UserId("dee"))
    elsewhere = api.world.node("b0")
    await elsewhere.joined(session, UserId("emil"))
    await api.node.room(session)
    await api.node.rooms.refresh(await api.node.room(session))
    api.counts.connections = {"/rooms": 5, "/moderation": 1, "/recording": 0}
    api.counts.commits, api.counts.events, api.counts.conflicts, api.counts.pending = 7, 30, 2, 4
    api.counts.heard, api.counts.catch_ups = 12, 3
    found = await scrape(api)
    assert found["coordinator_rooms"] == 2
    assert found["coordinator_participants_present"] == 4, "a participant counts where it is connected"
    assert found['coordinator_connections{namespace="/rooms"}'] == 5
    assert found['coordinator_connections{namespace="/moderation"}'] == 1
    assert found['coordinator_connections{namespace="/recording"}'] == 0
    assert found["coordinator_commits_total"] == 7
    assert found["coordinator_events_total"] == 30
    assert found["coordinator_commit_conflicts_total"] == 2
    assert found["coordinator_pending_commands"] == 4
    assert found["coordinator_commits_heard_total"] == 12
    assert found["coordinator_catch_ups_total"] == 3
    assert "coordinator_bus_up" not in found
    for is_up in (True, False):
        api.counts.bus_up = is_up
        assert (await scrape(api))["coordinator_bus_up"] == is_up
    await client.vanish()
    assert (await scrape(api))["coordinator_participants_present"] == 3


async def test_each_consumer_has_its_lag(api: HttpApi) -> None:
    api.counts.lags = [
        ConsumerLag(name="recorder", seconds=1.5, unacked=12, is_connected=True),
        ConsumerLag(name="audit.v2_old-1", seconds=86400.0, unacked=0, is_connected=False),
    ]
    found = await scrape(api)
    for name, numbers in {"recorder": (1.5, 12, 1), "audit.v2_old-1": (86400, 0, 0)}.items():
        for metric, number in zip(("lag_seconds", "unacked", "connected"), numbers, strict=True):
            assert found[f'coordinator_feed_consumer_{metric}{{consumer="{name}"}}'] == number


async def test_a_database_that_is_away_leaves_out_the_consumers_only(api: HttpApi) -> None:
    api.counts.lags = [ConsumerLag(name="recorder", seconds=1.5, unacked=12, is_connected=True)]
    await api.session("ada", "bo")
    before = await scrape(api)
    api.silence()
    after = await scrape(api)
    assert {name for name in before if name not in after} == {
        f'{family}{{consumer="recorder"}}' for family in OF_CONSUMERS
    }
    assert after["coordinator_participants_present"] == 2


async def test_two_coordinators_in_one_process_count_apart(api: HttpApi) -> None:
    async with running_api() as other:
        await other.session("ada", "bo")
        assert (await scrape(other))["coordinator_rooms"] == 1
        assert (await scrape(api))["coordinator_rooms"] == 0
    assert not any(metric.name.startswith("coordinator_") for metric in REGISTRY.collect())


async def test_a_running_coordinator_is_measured(live: Live) -> None:
    session = (await live.offer("ada", "bo")).session_id
    await live.join("ada", session)
    bo = await live.join("bo", session)
    assert (await bo.call("set_recording_consent", {"granted": True}))["ok"]
    answer = await live.get("/metrics", token="")
    assert answer.status == 200
    found = samples(answer.body.decode())
    commits = live.commits(session)
    assert found["coordinator_rooms"] == 1
    assert found["coordinator_participants_present"] == 2
    assert found['coordinator_connections{namespace="/rooms"}'] == 2
    assert found["coordinator_commits_total"] == len(commits)
    assert found["coordinator_events_total"] == sum(len(commit["events"]) for commit in commits)
    assert found["coordinator_pending_commands"] == 0
