"""The canonical form to the byte, the hash chain, and reading back; tampering is in `test_tampering`."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.events import EVENT_TYPES, SYSTEM, Actor, Event, EventBody, MicChanged, Role, SessionStarted
from coordinator.domain.ids import CommitId, UserId
from coordinator.domain.ledger import (
    GENESIS,
    Commit,
    UnknownEventError,
    canonical_event,
    canonical_stored_event,
    find_flaws,
    plain_data,
    read_event,
    seal,
    wire_time,
    wire_value,
)
from coordinator.domain.model import Language
from coordinator.domain.pseudonyms import Cast, alias_of
from tests.domain.logs import BODIES, SALTS, USERS, logs
from tests.domain.samples import opened, participant_words, session_words
from tests.domain.stored import Salts, canonical, chain_hash, stored_form
from tests.domain.story import ANNA, BEN, MODERATOR, SESSION, START, consent, join, minutes, record, running, seconds

WORDS = {**session_words(), **participant_words(ANNA)}

# What clients receive and what is hashed: a change here breaks every stored chain.
GOLDEN = {
    "session_opened": b'{"emptyTimeoutSeconds":60.0,"level":"B1","maxParticipants":8,"minParticipants":2,'
    b'"noShowAt":"2030-03-04T18:10:00.000Z","reconnectGraceSeconds":30.0,"scheduledEnd":"2030-03-04T18:30:00.000Z",'
    b'"scheduledStart":"2030-03-04T18:00:00.000Z","targetLanguageCode":"fr","timeSlotId":"510751075107510751075107"}',
    "session_started": b"{}",
    "session_ended": b'{"reason":"completed"}',
    "recording_enabled": b"{}",
    "recording_disabled": b"{}",
    "participant_joined": b'{"cameraEnabled":false,"connectionId":"node-anna-1","micEnabled":false,'
    b'"recordingConsent":false,"userId":"anna"}',
    "participant_disconnected": b'{"reason":"ping_timeout","reconnectBy":"2030-03-04T18:00:30.000Z","userId":"anna"}',
    "participant_reconnected": b'{"connectionId":"node-anna-2","userId":"anna"}',
    "participant_left": b'{"reason":"left","userId":"anna"}',
    "participant_left:removed": b'{"message":"be kind","reason":"removed","userId":"anna"}',
    "camera_changed": b'{"cameraEnabled":true,"userId":"anna"}',
    "mic_changed": b'{"micEnabled":true,"userId":"anna"}',
    "recording_consent_granted": b'{"policyVersion":"2030-01","userId":"anna"}',
    "recording_consent_revoked": b'{"userId":"anna"}',
    "recording_permitted": b'{"reason":"consent_granted","userId":"anna"}',
    "recording_withdrawn": b'{"reason":"consent_revoked","userId":"anna"}',
    "recording_attached": b'{"startTime":"2030-03-04T18:00:00.000Z",'
    b'"url":"https://bucket.r2.cloudflarestorage.com/anna.webm","userId":"anna"}',
    "user_erased": b'{"userId":"anna"}',
}
GOLDEN_HASH = "a2c7c2cf027f600d7168505aaca0c1c514372f542dbb65a6abc3f6ced3e8b0e9"


def an_event(body: EventBody, seq: int = 7) -> Event:
    return Event(session_id=SESSION, seq=seq, at=START + seconds(1.25), actor=MODERATOR, body=body)


def stored(event: Event) -> dict[str, Any]:
    """An event as the journal hands it back, instants as datetimes."""
    return {
        "seq": event.seq,
        "type": event.body.kind,
        "at": event.at,
        "actor": {"userId": event.actor.user_id, "role": event.actor.role.value},
        "data": plain_data(event.body),
        **({} if event.salt is None else {"salt": event.salt}),
    }


def test_the_golden_forms_cover_every_event() -> None:
    assert set(GOLDEN) == set(WORDS)
    assert {WORDS[word].kind for word in GOLDEN} == set(EVENT_TYPES)


@pytest.mark.parametrize("word", GOLDEN)
def test_the_canonical_form_to_the_byte(word: str) -> None:
    body = WORDS[word]
    assert canonical_event(an_event(body)) == (
        b'{"actor":{"role":"moderator","userId":"mona"},"at":"2030-03-04T18:00:01.250Z","data":'
        + GOLDEN[word]
        + b',"seq":7,"sessionId":"5e55105e55105e55105e5510","type":"'
        + body.kind.encode()
        + b'"}'
    )


def test_text_is_written_as_it_is_in_utf_8() -> None:
    event = an_event(MicChanged(user_id=UserId('Zoë 🎤 "q" \\ \n \x01'), mic_enabled=True))
    assert '"userId":"Zoë 🎤 \\"q\\" \\\\ \\n \\u0001"'.encode() in canonical_event(event)


def test_the_golden_hash() -> None:
    # Of a log without salts, as it was written before there were any.
    words = [word for word in WORDS if word != "user_erased"]
    events = [an_event(WORDS[word], seq) for seq, word in enumerate(words, start=1)]
    commit = seal(CommitId("c0" * 12), events, GENESIS)
    head = {
        "at": "2030-03-04T18:00:01.250Z",
        "id": "c0" * 12,
        "prevHash": "0" * 64,
        "seq": 1,
        "sessionId": "5e55105e55105e55105e5510",
    }
    lines = [json.dumps(head, sort_keys=True, separators=(",", ":")).encode()]
    for event, word in zip(events, words, strict=True):
        form = {
            "actor": {"role": "moderator", "userId": "mona"},
            "at": "2030-03-04T18:00:01.250Z",
            "data": json.loads(GOLDEN[word]),
            "seq": event.seq,
            "sessionId": "5e55105e55105e55105e5510",
            "type": event.body.kind,
        }
        lines.append(json.dumps(form, sort_keys=True, separators=(",", ":")).encode())
    assert commit.hash == hashlib.sha256(b"\n".join(lines)).hexdigest() == GOLDEN_HASH


def test_a_commit_is_chained_to_the_one_before() -> None:
    first = seal(CommitId("a" * 24), [an_event(opened(), 1), an_event(SessionStarted(), 2)], GENESIS)
    second = seal(CommitId("b" * 24), [an_event(SessionStarted(), 3)], first.hash)
    assert (first.seq, first.last_seq, first.prev_hash) == (1, 2, "0" * 64)
    assert (second.seq, second.last_seq, second.prev_hash) == (3, 3, first.hash)
    assert (first.session_id, first.at) == (SESSION, START + seconds(1.25))
    assert [sealed.json for sealed in first.events] == [canonical_event(sealed.event) for sealed in first.events]


@given(logs())
def test_anyone_can_compute_the_hashes_with_a_json_library(log: list[Commit]) -> None:
    salts: Salts = {}
    for commit, plain in zip(log, stored_form(log), strict=True):
        assert commit.hash == chain_hash(plain, salts)
        for sealed, event in zip(commit.events, plain["events"], strict=True):
            shown = {name: value for name, value in event.items() if name != "salt"}
            assert sealed.json == canonical({**shown, "sessionId": SESSION})


@given(BODIES, USERS, st.sampled_from(Role), SALTS)
def test_whoever_speaks_of_themselves_is_renamed_as_the_whole_line_would_be_written_anew(
    body: EventBody, user: UserId, role: Role, salt: str
) -> None:
    quoted = f'"userId":{json.dumps(user, ensure_ascii=False)}'
    texts = {name: quoted for name in ("connection_id", "policy_version", "message") if hasattr(body, name)}
    named = {"user_id": user} if hasattr(body, "user_id") else {}
    event = an_event(msgspec.structs.replace(body, **named, **texts))
    event = msgspec.structs.replace(event, actor=Actor(user_id=user, role=role))
    aliases = {user: alias_of(user, salt)}
    commit = seal(CommitId("c0" * 12), [event], GENESIS, aliases)
    head = canonical({"at": wire_time(event.at), "id": commit.id, "prevHash": GENESIS, "seq": 7, "sessionId": SESSION})
    line = canonical_event(Cast(aliases).covered(event))
    assert commit.hash == hashlib.sha256(head + b"\n" + line).hexdigest()
    assert commit.events[0].json == canonical_event(event)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_written_with_milliseconds(instant: datetime) -> None:
    assert wire_time(instant) == instant.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


@given(logs())
def test_every_event_reads_back_as_it_was_written(log: list[Commit]) -> None:
    for commit in log:
        for sealed in commit.events:
            assert read_event(SESSION, stored(sealed.event)) == sealed.event
            assert canonical_stored_event(SESSION, stored(sealed.event)) == sealed.json


@given(logs())
def test_an_unaltered_log_has_no_flaws(log: list[Commit]) -> None:
    assert find_flaws(SESSION, stored_form(log)) == []


def test_the_log_of_a_real_session_has_no_flaws() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(consent(BEN), at=minutes(1))
    story.given(record(enabled=False), join(UserId("Zoë")), at=minutes(2))
    assert find_flaws(SESSION, stored_form(story.sealed())) == []


def test_no_log_has_no_flaws() -> None:
    assert find_flaws(SESSION, []) == []


class TestReading:
    def test_unknown_fields_are_tolerated(self) -> None:
        event = an_event(MicChanged(user_id=ANNA, mic_enabled=True))
        later = stored(event)
        later["data"]["noiseSuppression"] = "strong"
        later["actor"]["device"] = "phone"
        later["traceId"] = "abc"
        assert read_event(SESSION, later) == event

    def test_unknown_fields_are_still_shown_and_hashed(self) -> None:
        later = stored(an_event(MicChanged(user_id=ANNA, mic_enabled=True)))
        later["data"]["since"] = START
        assert b'"since":"2030-03-04T18:00:00.000Z","userId":"anna"' in canonical_stored_event(SESSION, later)

    def test_an_unknown_type_is_named(self) -> None:
        with pytest.raises(UnknownEventError, match=r"event 7 .* 'hand_raised'"):
            read_event(SESSION, {**stored(an_event(SessionStarted())), "type": "hand_raised"})

    @pytest.mark.parametrize("salt", ["", "5a17", "5A" * 16, "5a" * 17, 7, ["5a" * 16]])
    def test_something_else_than_a_salt_is_refused(self, salt: Any) -> None:
        with pytest.raises(ValueError, match=r"event 7 .* salt"):
            read_event(SESSION, {**stored(an_event(SessionStarted())), "salt": salt})

    @pytest.mark.parametrize("data", [{}, {"userId": "anna"}, {"userId": "anna", "micEnabled": "yes"}])
    def test_data_that_do_not_fit_are_refused(self, data: dict[str, Any]) -> None:
        event = stored(an_event(MicChanged(user_id=ANNA, mic_enabled=True)))
        with pytest.raises(msgspec.ValidationError):
            read_event(SESSION, {**event, "data": data})


class TestWire:
    @pytest.mark.parametrize(
        ("instant", "text"),
        [
            (datetime(2030, 3, 4, 18, 0, tzinfo=UTC), "2030-03-04T18:00:00.000Z"),
            (datetime(2030, 3, 4, 18, 0, 0, 1000, tzinfo=UTC), "2030-03-04T18:00:00.001Z"),
            (datetime(2030, 3, 4, 18, 0, 0, 999_999, tzinfo=UTC), "2030-03-04T18:00:00.999Z"),
            (datetime(2030, 3, 4, 1, 30, tzinfo=timezone(timedelta(hours=2))), "2030-03-03T23:30:00.000Z"),
        ],
    )
    def test_times_are_utc_with_milliseconds(self, instant: datetime, text: str) -> None:
        assert wire_time(instant) == text

    def test_values_are_plain_all_the_way_down(self) -> None:
        assert wire_value({"a": [START, {"b": START}], "c": 1, "d": None}) == {
            "a": ["2030-03-04T18:00:00.000Z", {"b": "2030-03-04T18:00:00.000Z"}],
            "c": 1,
            "d": None,
        }

    def test_data_are_in_camel_case_with_instants_kept(self) -> None:
        data = plain_data(opened())
        assert data["scheduledStart"] == START
        assert data["targetLanguageCode"] == "fr"
        assert type(data["targetLanguageCode"]) is str, "not an enumeration, which a database could not write"
        assert Language(data["targetLanguageCode"]) is Language.FRENCH

    def test_optional_fields_that_are_not_set_are_not_written(self) -> None:
        assert plain_data(WORDS["recording_consent_revoked"]) == {"userId": "anna"}


def test_the_actor_is_part_of_the_form() -> None:
    event = Event(session_id=SESSION, seq=1, at=START, actor=SYSTEM, body=opened())
    assert canonical_event(event).startswith(b'{"actor":{"role":"system","userId":"system"},')
