"""Whatever is changed in a stored log, `find_flaws` names the place.

A chain proves what stands before its last hash, no more: see `test_known_limit_…` for what it cannot notice alone.
"""

import base64
import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.ledger import GENESIS, Commit, Flaw, find_flaws
from tests.domain.logs import logs
from tests.domain.stored import Salts, Stored, chain_hash, salts_before, stored_form
from tests.domain.story import (
    ANNA,
    BEN,
    SESSION,
    Story,
    consent,
    join,
    leave,
    minutes,
    record,
    running,
)

Path: TypeAlias = tuple[str | int, ...]

VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.floats(allow_nan=False)
ANYTHING = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in plain data at which a scalar, or something empty, stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [leaf for key, item in inner for leaf in leaves(item, (*path, key))]
    yield from below or [path]


def dicts(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in plain data at which an object stands."""
    if isinstance(value, dict):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from dicts(item, (*path, key))


def look_up(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def introduces_or_erases(log: list[Commit], path: Path) -> bool:
    """Tell whether what stands at `path` says who somebody is in the commits after it."""
    if len(path) < 3:
        return False
    event = look_up(stored_form(log), path[:3])
    return "salt" in event or event["type"] in ("participant_joined", "user_erased")


def same(one: Any, other: Any) -> bool:
    """Tell whether two pieces of plain data are alike, types included."""
    return repr(one) == repr(other)


def assert_named(log: list[Stored], seq: int) -> None:
    """The first flaw stands at `seq`."""
    flaws = find_flaws(SESSION, log)
    assert flaws, "the alteration went unnoticed"
    assert flaws[0].session_id == SESSION
    assert flaws[0].seq == seq
    assert flaws[0].problem


@given(log=logs(), data=st.data())
def test_any_value_changed_is_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    path = data.draw(st.sampled_from(list(leaves(altered))), label="path")
    before = look_up(altered, path)
    after: Any = data.draw(ANYTHING.filter(lambda value: not same(value, before)), label="new value")
    look_up(altered, path[:-1])[path[-1]] = after
    place = path[0]
    assert isinstance(place, int)
    says_another_seq = path[1:] == ("seq",) and type(after) is int
    assert_named(altered, after if says_another_seq else log[place].seq)
    if not introduces_or_erases(log, path):
        assert len(find_flaws(SESSION, altered)) <= 2, "only this commit, and the next one's link to it"


@given(log=logs(), data=st.data())
def test_any_field_removed_is_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    path = data.draw(st.sampled_from([path for path in dicts(altered) if look_up(altered, path)]), label="path")
    target = look_up(altered, path)
    del target[data.draw(st.sampled_from(sorted(target)), label="field")]
    assert isinstance(path[0], int)
    assert_named(altered, log[path[0]].seq)


@given(log=logs(), data=st.data(), value=ANYTHING)
def test_any_field_added_is_named(log: list[Commit], data: st.DataObject, value: Any) -> None:
    altered = stored_form(log)
    path = data.draw(st.sampled_from(list(dicts(altered))), label="path")
    target = look_up(altered, path)
    target[data.draw(st.text(max_size=8).filter(lambda name: name not in target), label="field")] = value
    assert isinstance(path[0], int)
    assert_named(altered, log[path[0]].seq)


@given(log=logs(), data=st.data())
def test_an_event_dropped_or_doubled_is_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    place = data.draw(st.integers(0, len(log) - 1), label="commit")
    events = altered[place]["events"]
    number = data.draw(st.integers(0, len(events) - 1), label="event")
    if data.draw(st.booleans(), label="dropped"):
        del events[number]
    else:
        events.insert(number, copy.deepcopy(events[number]))
    assert_named(altered, log[place].seq)


@given(log=logs().filter(lambda log: any(len(commit.events) > 1 for commit in log)), data=st.data())
def test_events_swapped_are_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    place = data.draw(st.sampled_from([n for n, commit in enumerate(log) if len(commit.events) > 1]), label="commit")
    events = altered[place]["events"]
    one, other = data.draw(st.permutations(range(len(events))), label="events")[:2]
    events[one], events[other] = events[other], events[one]
    assert_named(altered, log[place].seq)


@given(log=logs(), data=st.data())
def test_the_contents_of_events_swapped_are_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    events = [event for commit in altered for event in commit["events"]]
    one, other = (data.draw(st.sampled_from(events), label="event") for _ in range(2))
    alike = same(one["data"], other["data"])
    one["data"], other["data"] = other["data"], one["data"]
    assert bool(find_flaws(SESSION, altered)) is not alike


@given(log=logs(min_commits=2), data=st.data())
def test_a_commit_removed_is_named_at_the_next(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    place = data.draw(st.integers(0, len(log) - 2), label="commit")
    del altered[place]
    assert_named(altered, log[place + 1].seq)
    if not any(introduces_or_erases(log, (place, "events", number)) for number in range(len(log[place].events))):
        assert len(find_flaws(SESSION, altered)) == 1


@given(log=logs(min_commits=3), data=st.data())
def test_commits_cut_out_of_the_middle_are_named_at_the_next(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    first = data.draw(st.integers(0, len(log) - 2), label="first")
    last = data.draw(st.integers(first, len(log) - 2), label="last")
    del altered[first : last + 1]
    assert_named(altered, log[last + 1].seq)


@given(log=logs(), data=st.data())
def test_a_commit_doubled_is_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    place = data.draw(st.integers(0, len(log) - 1), label="commit")
    altered.insert(place, copy.deepcopy(altered[place]))
    assert_named(altered, log[place].seq)


@given(log=logs(min_commits=2), data=st.data())
def test_commits_swapped_are_named(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    one = data.draw(st.integers(0, len(log) - 2), label="one")
    other = data.draw(st.integers(one + 1, len(log) - 1), label="other")
    altered[one], altered[other] = altered[other], altered[one]
    assert_named(altered, log[other].seq)


@given(log=logs(min_commits=2), data=st.data())
def test_a_commit_rewritten_with_a_fitting_hash_is_betrayed_by_the_next(log: list[Commit], data: st.DataObject) -> None:
    altered = stored_form(log)
    place = data.draw(st.integers(0, len(log) - 2), label="commit")
    actor = altered[place]["events"][0]["actor"]
    actor["userId"] += "?"
    altered[place]["hash"] = chain_hash(altered[place], salts_before(altered, place))
    assert find_flaws(SESSION, altered) == [
        Flaw(SESSION, log[place + 1].seq, "prevHash is not the hash of the commit before")
    ]


@given(log=logs(min_commits=2), data=st.data())
def test_known_limit_the_last_commits_removed_cannot_be_noticed_by_the_chain_alone(
    log: list[Commit], data: st.DataObject
) -> None:
    """A log cut off at its end is a shorter log. Whoever must notice keeps the last seq or the last hash elsewhere."""
    keep = data.draw(st.integers(0, len(log) - 1), label="commits kept")
    assert find_flaws(SESSION, stored_form(log)[:keep]) == []


@given(log=logs())
def test_known_limit_a_log_rewritten_to_its_end_cannot_be_noticed_by_the_chain_alone(log: list[Commit]) -> None:
    """Whoever recomputes every hash from the alteration on has made another valid log, with another last hash."""
    altered = stored_form(log)
    altered[0]["events"][0]["actor"]["userId"] += "?"
    assert find_flaws(SESSION, rehashed(altered)) == []
    assert altered[-1]["hash"] != log[-1].hash


@given(log=logs())
def test_another_sessions_log_is_not_this_ones(log: list[Commit]) -> None:
    other = "0" * 24
    assert [flaw.seq for flaw in find_flaws(other, stored_form(log))] == [commit.seq for commit in log]


def a_log() -> list[Stored]:
    """The stored log of a short session: Anna consents in the commit with seq 5."""
    story: Story = running(ANNA, BEN).given(record(), consent(ANNA, "2030"), leave(BEN), join(BEN), at=minutes(1))
    return stored_form(story.sealed())


def test_every_flaw_is_found_not_only_the_first() -> None:
    log = a_log()
    for place in (1, 4):
        log[place]["events"][0]["actor"]["role"] = "admin"
    assert [flaw.seq for flaw in find_flaws(SESSION, log)] == [log[1]["seq"], log[4]["seq"]]


def rehashed(log: list[Stored]) -> list[Stored]:
    """Chain a log anew, so that its hashes fit whatever it says."""
    prev_hash = GENESIS
    salts: Salts = {}
    for commit in log:
        commit["prevHash"] = prev_hash
        prev_hash = commit["hash"] = chain_hash(commit, salts)
    return log


def test_a_gap_is_named_even_if_every_hash_fits() -> None:
    log = a_log()
    del log[3]
    assert find_flaws(SESSION, rehashed(log)) == [Flaw(SESSION, 5, "seq 5 where 4 should follow")]


def test_events_that_are_not_dense_are_named_even_if_every_hash_fits() -> None:
    log = a_log()
    log[2]["events"][0]["seq"] = 9
    assert find_flaws(SESSION, rehashed(log)) == [Flaw(SESSION, 3, "its events are not dense")]


def test_a_commit_of_another_session_is_named_even_if_every_hash_fits() -> None:
    log = a_log()
    log[2]["sessionId"] = "0" * 24
    assert Flaw(SESSION, 3, "belongs to another session") in find_flaws(SESSION, rehashed(log))


@pytest.mark.parametrize("field", ["id", "seq", "at", "events", "prevHash", "hash", "sessionId"])
def test_a_value_of_a_foreign_type_in_a_commit_is_named(field: str) -> None:
    log = a_log()
    log[2][field] = object()
    assert_named(log, 3)


@pytest.mark.parametrize("field", ["seq", "type", "at", "actor", "data"])
def test_a_value_of_a_foreign_type_in_an_event_is_named(field: str) -> None:
    log = a_log()
    log[2]["events"][0][field] = object()
    assert_named(log, 3)


def test_something_else_than_an_event_is_named() -> None:
    log = a_log()
    log[2]["events"][0] = "participant_joined"
    assert_named(log, 3)


def test_bytes_are_not_the_text_that_they_would_be_encoded_as() -> None:
    # A database hands binary values back as bytes; a JSON encoder may write those in base64, which can spell a name.
    log = a_log()
    actor = log[1]["events"][0]["actor"]
    assert actor["userId"] == "anna"
    actor["userId"] = base64.b64decode("anna")
    assert_named(log, 2)
