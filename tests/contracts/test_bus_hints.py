"""Messages on the bus: what is written is read as it was, byte for byte; what is anything else is refused."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from coordinator.adapters.redis.hints import UndecodableHintError, decode, encode, header
from coordinator.domain.events import EVENT_TYPES, Actor, Event, Role
from coordinator.domain.ids import CommitId, ConnectionId, NodeId, UserId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, seal
from coordinator.ports.bus import RelayedSignal
from tests.contracts.making import EVERY_KIND, MOMENT, NOON, new_id
from tests.domain.samples import participant_words, session_words
from tests.domain.story import ANNA, BEN, SESSION, attach, media, minutes, remove, running, sealed_log

OWN = header(NodeId("n0de"))
USERS = st.text(min_size=1, max_size=128).map(UserId)
HEX = "0123456789abcdef"
SALTS = st.none() | st.text(HEX, min_size=32, max_size=32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(), items, max_size=4),
    max_leaves=20,
)


@st.composite
def commits(draw: st.DrawFn) -> Commit:
    seq = draw(st.integers(1, 2**53 - 1025))
    user = draw(USERS)
    words = [*session_words().values(), *participant_words(user).values(), *EVERY_KIND]
    bodies = draw(st.lists(st.sampled_from(words), min_size=1, max_size=20))
    actor = Actor(user_id=draw(USERS), role=draw(st.sampled_from(Role)))
    at = NOON + timedelta(milliseconds=draw(st.integers(0, 10**11)))
    events = [
        Event(session_id=SESSION, seq=number, at=at + number % 9 * MOMENT, actor=actor, body=body, salt=draw(SALTS))
        for number, body in enumerate(bodies, start=seq)
    ]
    return seal(CommitId(new_id()), events, draw(st.text(HEX, min_size=64, max_size=64)))


def test_every_kind_of_event_is_tried() -> None:
    tried = {body.kind for body in (*session_words().values(), *participant_words(ANNA).values(), *EVERY_KIND)}
    assert tried == EVENT_TYPES.keys()


@given(commits())
def test_any_commit_is_read_as_it_was_sealed(commit: Commit) -> None:
    read = decode(SESSION, encode(OWN, commit))
    assert read == commit
    assert isinstance(read, Commit)
    assert [type(sealed.json) for sealed in read.events] == [bytes] * len(read.events)


def test_the_commits_of_a_whole_session_are_read_as_they_were_sealed() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA])
    story.given(attach(ANNA, minutes(1)), at=minutes(2)).given(remove(BEN, "be kind"), at=minutes(3))
    log = sealed_log(story.commits)
    assert any(sealed.event.salt for commit in log for sealed in commit.events)
    assert [decode(SESSION, encode(OWN, commit)) for commit in log] == log


def test_what_a_later_version_has_added_to_an_event_stays_in_its_json() -> None:
    event = Event(
        session_id=SESSION, seq=1, at=NOON, actor=Actor(user_id=ANNA, role=Role.PARTICIPANT), body=EVERY_KIND[1]
    )
    commit = seal(CommitId(new_id()), [event], GENESIS)
    [sealed] = commit.events
    wider = sealed.json.replace(b'"data":{', b'"data":{"aNewField":[1],').replace(b'"seq"', b'"mood":"good","seq"')
    later = replace(commit, events=(SealedEvent(event, wider),))
    assert decode(SESSION, encode(OWN, later)) == later


@given(st.builds(RelayedSignal, st.just(SESSION), USERS.map(ConnectionId), USERS, JSON))
@example(RelayedSignal(SESSION, ConnectionId("node-1"), ANNA, 2**200))
def test_any_signal_is_read_as_it_was_sent(signal: RelayedSignal) -> None:
    assert decode(SESSION, encode(OWN, signal)) == signal


def test_a_node_knows_its_own_messages_and_no_others() -> None:
    signal = RelayedSignal(SESSION, ConnectionId("node-1"), ANNA, None)
    names = ["n", "n0", "n0de", "n0de1", "N0DE"]
    for name in names:
        message = encode(header(NodeId(name)), signal)
        assert [other for other in names if message.startswith(header(NodeId(other)))] == [name]


def written() -> dict[str, Any]:
    story = running(ANNA, BEN).given(media(BEN, mic=True), at=minutes(1))
    body: dict[str, Any] = msgspec.json.decode(encode(OWN, story.sealed()[-1]).split(b" ", 2)[2])
    return body


def altered(**changes: Any) -> bytes:
    return OWN + b"commit/1 " + msgspec.json.encode({**written(), **changes})


def event(**changes: Any) -> dict[str, Any]:
    return {**written()["events"][0], **changes}


def test_what_is_not_altered_is_read() -> None:
    assert isinstance(decode(SESSION, altered()), Commit)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n0de",
        b"n0de commit/1",
        b"n0de commit/1 ",
        b"n0de commit/2 {}",
        b"n0de signal/1 {}",
        b"n0de signal/1 " + b"[" * 100_000,
        b"\x00\xff\xfe",
        altered(events=[]),
        altered(events=None),
        altered(events=[event(), event()]),
        altered(events=[event(type="meteor_struck")]),
        altered(events=[event(type=7)]),
        altered(events=[event(at="noon")]),
        altered(events=[event(seq="1")]),
        altered(events=[event(data={})]),
        altered(events=[event(actor={"userId": "anna", "role": "king"})]),
        altered(events=[event(sessionId="0" * 24)]),
        altered(seq=1),
        altered(salts=[]),
        altered(salts=["5a17"]),
        altered(salts=["5" * 32, None]),
        altered(hash=None),
    ],
)
def test_what_is_no_message_of_this_version_is_refused(message: bytes) -> None:
    with pytest.raises(UndecodableHintError):
        decode(SESSION, message)


@given(
    st.binary() | st.tuples(st.sampled_from([b"commit/1", b"signal/1"]), st.binary() | JSON.map(msgspec.json.encode))
)
def test_nothing_that_arrives_does_harm(data: bytes | tuple[bytes, bytes]) -> None:
    message = data if isinstance(data, bytes) else b"n %b %b" % data
    with suppress(UndecodableHintError):
        assert isinstance(decode(SESSION, message), RelayedSignal | Commit)


@given(commits(), st.data())
def test_nothing_that_is_altered_on_the_way_does_harm(commit: Commit, data: st.DataObject) -> None:
    message = bytearray(encode(OWN, commit))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(UndecodableHintError):
        assert isinstance(decode(SESSION, bytes(message)), RelayedSignal | Commit)
