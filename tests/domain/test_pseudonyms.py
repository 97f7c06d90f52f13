"""What stands for a user in the hash chain, computed by hand; and salts and pseudonyms that are out of place."""

import hashlib
import json

import pytest
from msgspec.structs import replace

from coordinator.domain.ledger import Flaw, find_flaws
from coordinator.domain.pseudonyms import alias_of, is_pseudonym, is_salt, random_pseudonym
from tests.domain.erasing import erased
from tests.domain.stored import Stored, pseudonym, stored_form
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    MODERATOR,
    SESSION,
    URL,
    Story,
    attach,
    consent,
    erase,
    join,
    leave,
    media,
    minutes,
    mute,
    record,
    remove,
    running,
    salt,
    sealed_log,
)

SALT = "00112233445566778899aabbccddeeff"
GOLDEN_PSEUDONYM = "erased-" + hashlib.sha256(b"00112233445566778899aabbccddeeff:anna").hexdigest()[:32]
UNEXPLAINED = "names a participant by a pseudonym, and the log does not say that the user was erased"
NOBODYS = "an event has a salt that belongs to nobody"


def a_story() -> Story:
    """Anna joins with seq 2, consents, is muted, recorded and removed by Mona; all is over."""
    story = running(ANNA, BEN).given(record(), consent(ANNA, "2030"), at=minutes(1))
    story.given(media(ANNA, mic=True), mute(ANNA), attach(ANNA, minutes(1)), at=minutes(2))
    return story.given(leave(BEN), join(BEN), remove(ANNA, "be kind"), END_IT, at=minutes(3))


def a_log() -> list[Stored]:
    return stored_form(a_story().sealed())


def forgotten() -> list[Stored]:
    """The same log after Anna was erased."""
    return stored_form(erased(a_story().commits, ANNA))


def events_of(log: list[Stored], kind: str) -> list[Stored]:
    return [event for commit in log for event in commit["events"] if event["type"] == kind]


def commit_of(log: list[Stored], event: Stored) -> int:
    return int(next(commit["seq"] for commit in log if any(item is event for item in commit["events"])))


def flaw_seqs(log: list[Stored]) -> list[int]:
    return [flaw.seq for flaw in find_flaws(SESSION, log)]


def test_the_form_of_a_pseudonym() -> None:
    alias = alias_of(ANNA, SALT)
    assert alias.pseudonym == GOLDEN_PSEUDONYM == "erased-b8631c2fefb9abbe0031da5569f99df7"
    assert is_pseudonym(alias.pseudonym)
    assert is_pseudonym(random_pseudonym(SALT))
    assert len({alias_of(user, SALT).pseudonym for user in (ANNA, BEN)} | {alias_of(ANNA, "f" * 32).pseudonym}) == 3
    url_digest = hashlib.sha256(f"{SALT}:{URL}".encode()).hexdigest()[:32]
    assert alias.text("url", URL) == f"https://erased.invalid/{url_digest}"
    assert alias.text("message", "be kind") == "erased-" + hashlib.sha256(f"{SALT}:be kind".encode()).hexdigest()[:32]


@pytest.mark.parametrize("text", ["anna", "erased-", "erased-" + "0" * 31, "erased-" + "0" * 33, "erased-" + "G" * 32])
def test_other_ids_are_no_pseudonyms(text: str) -> None:
    assert not is_pseudonym(text)


def test_the_form_of_a_salt() -> None:
    assert is_salt(SALT)
    assert not any(map(is_salt, ["", SALT[1:], SALT + "0", SALT.upper(), SALT[:-1] + "\n", None, 5, SALT.encode()]))


def test_a_hash_computed_by_hand() -> None:
    """As an auditor does it, with a JSON library and SHA-256, for the removal of a user who was recorded."""
    log = a_log()
    salted = events_of(log, "participant_joined")[0]["salt"]
    anna = "erased-" + hashlib.sha256(f"{salted}:anna".encode()).hexdigest()[:32]
    (commit,) = [commit for commit in log if "message" in commit["events"][0]["data"]]
    event, withdrawn = commit["events"]
    mona = "erased-" + hashlib.sha256(f"{event['salt']}:mona".encode()).hexdigest()[:32]
    message = "erased-" + hashlib.sha256(f"{salted}:be kind".encode()).hexdigest()[:32]
    line = {
        "actor": {"role": "moderator", "userId": mona},
        "at": "2030-03-04T18:03:00.000Z",
        "data": {"message": message, "reason": "removed", "userId": anna},
        "seq": commit["seq"],
        "sessionId": SESSION,
        "type": "participant_left",
    }
    consequence = {
        "actor": {"role": "system", "userId": "system"},
        "at": "2030-03-04T18:03:00.000Z",
        "data": {"reason": "removed", "userId": anna},
        "seq": withdrawn["seq"],
        "sessionId": SESSION,
        "type": "recording_withdrawn",
    }
    head = {name: commit[name] for name in ("at", "id", "prevHash", "seq", "sessionId")}
    written = [head, line, consequence]
    forms = [json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for form in written]
    assert commit["hash"] == hashlib.sha256("\n".join(forms).encode()).hexdigest()


def test_subscribers_get_names_and_no_salts() -> None:
    story = running(ANNA, BEN).given(mute(ANNA), remove(BEN, "be kind"))
    for sealed in (sealed for commit in story.sealed() for sealed in commit.events):
        shown = json.loads(sealed.json)
        assert set(shown) == {"seq", "sessionId", "type", "at", "actor", "data"}
        assert shown["actor"]["userId"] == sealed.event.actor.user_id
        assert b"erased-" not in sealed.json


def test_old_and_new_events_go_together_in_one_log() -> None:
    story = running(ANNA, BEN)
    old = [[replace(event, salt=None) for event in events] for events in story.commits]
    log = sealed_log([*old, *running(ANNA, BEN).given(mute(ANNA), join(CLEO), mute(CLEO)).commits[len(old) :]])
    assert find_flaws(SESSION, stored_form(log)) == []


class TestTampering:
    @pytest.mark.parametrize("kind", ["participant_joined", "recording_enabled", "participant_left"])
    def test_a_salt_changed_or_dropped_is_named(self, kind: str) -> None:
        for change in ("other", "dropped", "malformed", "none"):
            log = a_log()
            event = next(event for event in events_of(log, kind) if "salt" in event)
            if change == "dropped":
                del event["salt"]
            else:
                event["salt"] = {"other": salt(777), "malformed": "5a17", "none": None}[change]
            assert flaw_seqs(log)[0] == commit_of(log, event), change

    @pytest.mark.parametrize("place", ["actor", "data"])
    def test_another_user_is_named(self, place: str) -> None:
        for event in range(len(events_of(a_log(), "recording_consent_granted"))):
            log = a_log()
            granted = events_of(log, "recording_consent_granted")[event]
            for name in ("ben", "Anna", "erased-" + "0" * 32):
                granted[place]["userId"] = name
                assert flaw_seqs(log) == [commit_of(log, granted)]

    @pytest.mark.parametrize(("kind", "field"), [("recording_attached", "url"), ("participant_left", "message")])
    def test_another_text_about_a_user_is_named(self, kind: str, field: str) -> None:
        log = a_log()
        event = next(event for event in events_of(log, kind) if field in event["data"])
        event["data"][field] += "?"
        assert flaw_seqs(log) == [commit_of(log, event)]

    def test_a_pseudonym_in_place_of_another_is_named(self) -> None:
        log = forgotten()
        event = events_of(log, "recording_consent_granted")[0]
        event["data"]["userId"] = "erased-" + "0" * 32
        assert flaw_seqs(log) == [commit_of(log, event)]

    @pytest.mark.parametrize("field", ["url", "message"])
    def test_a_digest_in_place_of_another_is_named(self, field: str) -> None:
        log = forgotten()
        event = next(event for commit in log for event in commit["events"] if field in event["data"])
        event["data"][field] = event["data"][field][:-1] + ("0" if event["data"][field][-1] != "0" else "1")
        assert flaw_seqs(log) == [commit_of(log, event)]

    def test_a_user_put_in_place_of_a_pseudonym_is_named(self) -> None:
        log = forgotten()
        event = events_of(log, "recording_consent_granted")[0]
        event["data"]["userId"] = "anna"
        assert flaw_seqs(log) == [commit_of(log, event)]

    def test_a_salt_that_was_dropped_and_is_put_back_changes_nothing_unseen(self) -> None:
        log = forgotten()
        events_of(log, "participant_joined")[0]["salt"] = salt(2)
        assert find_flaws(SESSION, log) == [Flaw(SESSION, 2, NOBODYS)]

    @pytest.mark.parametrize("kind", ["session_opened", "session_started", "mic_changed", "participant_reconnected"])
    def test_a_salt_for_nobody_is_named(self, kind: str) -> None:
        story = running(ANNA, BEN).given(media(ANNA, mic=True), join(ANNA, via=join(ANNA).connection_id))
        story.given(join(BEN, via=join(ANNA).connection_id))
        log = stored_form(story.sealed())
        event = events_of(log, kind)[0]
        event["salt"] = salt(777)
        assert find_flaws(SESSION, log) == [Flaw(SESSION, commit_of(log, event), NOBODYS)]

    def test_a_second_salt_for_a_user_is_named(self) -> None:
        log = a_log()
        again = events_of(log, "participant_joined")[2]
        assert (again["data"]["userId"], "salt" in again) == ("ben", False)
        again["salt"] = events_of(log, "participant_joined")[1]["salt"]  # even the very same
        assert find_flaws(SESSION, log) == [Flaw(SESSION, commit_of(log, again), NOBODYS)]


class TestErasuresThatNobodyOrdered:
    """What the chain covers stays the same: so it is the log's own word that must tell an erasure from a disguise."""

    @pytest.mark.parametrize("places", [["data"], ["actor"], ["actor", "data"]])
    def test_one_event_that_names_a_participant_by_the_pseudonym_is_named(self, places: list[str]) -> None:
        log = a_log()
        event = events_of(log, "recording_consent_granted")[0]
        for place in places:
            event[place]["userId"] = pseudonym(events_of(log, "participant_joined")[0]["salt"], "anna")
        assert find_flaws(SESSION, log) == [Flaw(SESSION, commit_of(log, event), UNEXPLAINED)]

    def test_a_participant_who_is_hidden_throughout_is_named(self) -> None:
        log = forgotten()
        assert log[-1]["events"][0]["type"] == "user_erased"
        assert find_flaws(SESSION, log) == []
        assert find_flaws(SESSION, log[:-1]) == [Flaw(SESSION, 2, UNEXPLAINED)]

    def test_one_pseudonym_in_a_log_that_says_so_is_an_erasure_not_yet_done(self) -> None:
        log = stored_form(a_story().given(erase(ANNA)).sealed())
        event = events_of(log, "recording_consent_granted")[0]
        event["data"]["userId"] = pseudonym(events_of(log, "participant_joined")[0]["salt"], "anna")
        assert find_flaws(SESSION, log) == []

    def test_the_first_mention_rewritten_before_the_others_leaves_them_without_proof(self) -> None:
        log, done = stored_form(a_story().given(erase(ANNA)).sealed()), forgotten()
        log[1] = done[1]
        assert flaw_seqs(log)[0] > 2

    def test_whoever_erases_another_than_the_log_says_is_named(self) -> None:
        log = forgotten()
        for event in log[-1]["events"]:
            event["data"]["userId"] = "ben"
        assert flaw_seqs(log) == [log[-1]["seq"]]

    def test_known_limit_whoever_only_acted_can_be_hidden_without_a_word(self) -> None:
        """Nothing says that a moderator was erased; but what was done, and when, and in which role, is proved."""
        log = a_log()
        for event in events_of(log, "recording_enabled"):
            event["actor"]["userId"] = pseudonym(event.pop("salt"), MODERATOR.user_id)
        assert find_flaws(SESSION, log) == []
