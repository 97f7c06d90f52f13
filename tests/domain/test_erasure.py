"""Erasing a user: the log forgets who it was, proves all that it proved, and tells the same story."""

import pytest
from msgspec.structs import replace

from coordinator.domain.decide import decide
from coordinator.domain.erasure import UnfitForErasureError, is_about, names, rewritten_without
from coordinator.domain.errors import InvalidRequestError, RecordingNotPermittedError
from coordinator.domain.events import (
    Actor,
    ParticipantJoined,
    ParticipantLeft,
    RecordingAttached,
    Role,
    UserErased,
)
from coordinator.domain.evolve import fold
from coordinator.domain.ids import UserId
from coordinator.domain.ledger import Commit, find_flaws
from coordinator.domain.pseudonyms import alias_of
from coordinator.domain.transitions import Presence
from tests.domain.erasing import erased, folded, with_replaced
from tests.domain.stored import pseudonym, stored_form
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    MODERATOR,
    RECORDER,
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
    revoke,
    running,
    salt,
    sealed_log,
)


def a_life() -> Story:
    """A session with all that can be known of a user: consents, recordings, a removal with words."""
    story = running(ANNA, BEN, CLEO, recording=True, consenting=[ANNA, BEN])
    story.given(media(ANNA, camera=True, mic=True), mute(ANNA), at=minutes(1))
    story.given(leave(ANNA), join(ANNA), revoke(ANNA), consent(ANNA, "2030-02"), at=minutes(2))
    story.given(attach(ANNA, minutes(1)), attach(BEN, minutes(1), URL.replace("anna", "ben")), at=minutes(3))
    story.given(remove(ANNA, "be kind, anna"), END_IT, at=minutes(4))
    return story.given(attach(ANNA, minutes(2), URL + "?2"), at=minutes(5))


def alias_in(story: Story, who: UserId) -> str:
    (salted,) = [
        event.salt
        for event in story.log
        if isinstance(event.body, ParticipantJoined) and event.salt and event.body.user_id == who
    ]
    return pseudonym(salted, who)


@pytest.mark.parametrize("who", [ANNA, BEN, CLEO])
def test_a_participant_is_erased_and_everything_else_stays(who: UserId) -> None:
    story = a_life()
    after = erased(story.commits, who)
    assert names(story.sealed(), who)
    assert not names(after, who)
    state = folded(after)
    assert state is not None
    hidden = state.participants[UserId(alias_in(story, who))]
    known = story.participant(who)
    assert replace(hidden, user_id=who, seq=known.seq) == known
    assert list(state.participants) == [
        alias_in(story, who) if user == who else user for user in story.session.participants
    ]
    assert {user: state.participants[user] for user in (ANNA, BEN, CLEO) if user != who} == {
        user: story.participant(user) for user in (ANNA, BEN, CLEO) if user != who
    }


def test_what_was_said_and_recorded_of_a_user_goes_too() -> None:
    story = a_life()
    after = erased(story.commits, ANNA)
    events = [sealed.event.body for commit in after for sealed in commit.events]
    urls = [body.url for body in events if isinstance(body, RecordingAttached)]
    assert [url.startswith("https://erased.invalid/") for url in urls] == [True, False, True]
    assert urls[0] != urls[2]
    (message,) = [body.message for body in events if isinstance(body, ParticipantLeft) and body.message is not None]
    assert message.startswith("erased-")
    state = folded(after)
    assert state is not None
    assert [item.url for item in state.recordings] == urls
    assert [item.user_id == BEN for item in state.recordings] == [False, True, False]


@pytest.mark.parametrize("who", [MODERATOR.user_id, RECORDER.user_id])
def test_whoever_only_acted_is_erased_without_a_word(who: UserId) -> None:
    story = a_life()
    assert names(story.sealed(), who)
    assert not is_about(story.sealed(), who)
    after = erased(story.commits, who)
    assert folded(after) == story.session
    assert not any(isinstance(sealed.event.body, UserErased) for commit in after for sealed in commit.events)


def test_everybody_can_be_erased_one_after_the_other() -> None:
    story = a_life()
    log: list[Commit] = story.sealed()
    for number, who in enumerate([CLEO, MODERATOR.user_id, ANNA, RECORDER.user_id, BEN]):
        commits = [[sealed.event for sealed in commit.events] for commit in log]
        state = folded(log)
        decision = decide(SESSION, state, erase(who), story.clock, salt(1000 + number))
        log = sealed_log([*commits, decision.events] if decision.events else commits)
        assert [commit.hash for commit in log[: len(commits)]] == [sealed.hash for sealed in sealed_log(commits)]
        log = with_replaced(log, rewritten_without(log, who))
        assert find_flaws(SESSION, stored_form(log)) == []
        assert folded(log) == decision.state
    assert all("salt" not in event for commit in stored_form(log) for event in commit["events"])


def test_a_user_who_acted_took_part_and_acted_again_is_erased_altogether() -> None:
    anna = Actor(user_id=ANNA, role=Role.MODERATOR)
    story = Story().given(replace(record(), actor=anna), at=minutes(-6))
    story.given(join(ANNA), join(BEN), replace(mute(BEN), actor=anna), at=minutes(-5))
    story.given(replace(END_IT, actor=anna), at=minutes(-4))
    salted = [(event.body.kind, event.salt is not None) for event in story.log if event.actor.user_id == ANNA]
    assert salted == [("recording_enabled", True), ("participant_joined", True), ("session_ended", False)]
    erased(story.commits, ANNA)


def test_whoever_acts_after_having_been_erased_is_somebody_new() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[BEN]).given(END_IT, at=minutes(4))
    story.given(erase(ANNA), replace(attach(BEN, minutes(1)), actor=Actor(user_id=ANNA, role=Role.RECORDER)))
    log = story.sealed()
    for done in range(len(rewritten_without(log, ANNA)) + 1):
        now = with_replaced(log, rewritten_without(log, ANNA)[:done])
        assert find_flaws(SESSION, stored_form(now)) == []
        assert folded(now) == story.session
    names_after = {event["actor"]["userId"] for commit in stored_form(now) for event in commit["events"]}
    assert len({name for name in names_after if name.startswith("erased-")}) == 2


class TestDeciding:
    def test_a_user_is_erased_only_from_a_session_that_is_over(self) -> None:
        story = running(ANNA, BEN)
        for who in (ANNA, CLEO):
            with pytest.raises(InvalidRequestError, match="only when it is over"):
                story.when(erase(who))

    def test_erasing_is_idempotent_also_by_the_pseudonym(self) -> None:
        story = running(ANNA, BEN).given(END_IT, erase(ANNA), at=minutes(1))
        for who in (ANNA, UserId(alias_in(story, ANNA)), CLEO):
            assert story.when(erase(who)) == []

    def test_a_user_without_a_salt_cannot_be_erased(self) -> None:
        story = running(ANNA, BEN).given(END_IT, at=minutes(1))
        unsalted = fold(replace(event, salt=None) for event in story.log)
        with pytest.raises(InvalidRequestError, match="before users had salts"):
            decide(SESSION, unsalted, erase(ANNA), story.clock, salt(0))
        log = sealed_log([[replace(event, salt=None) for event in events] for events in story.commits])
        assert rewritten_without(log, ANNA) == []

    def test_what_was_recorded_is_not_attached_to_whoever_was_erased(self) -> None:
        story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(END_IT, at=minutes(5))
        story.given(erase(ANNA))
        with pytest.raises(RecordingNotPermittedError, match="never in this session"):
            story.when(attach(ANNA, minutes(1)))
        with pytest.raises(RecordingNotPermittedError, match="was erased"):
            story.when(attach(UserId(alias_in(story, ANNA)), minutes(1)))

    def test_nobody_joins_under_a_pseudonym(self) -> None:
        with pytest.raises(InvalidRequestError, match="erased"):
            running(ANNA, BEN).when(join(alias_of(CLEO, salt(1)).pseudonym))

    def test_the_erased_stay_where_they_stood(self) -> None:
        story = running(ANNA, BEN).given(remove(ANNA), END_IT, erase(ANNA), at=minutes(1))
        assert story.participant(UserId(alias_in(story, ANNA))).presence is Presence.REMOVED


class TestSalts:
    def test_each_user_of_a_session_gets_one_when_it_first_joins(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA), join(ANNA), at=minutes(1))
        joined = [event for event in story.log if isinstance(event.body, ParticipantJoined)]
        assert [event.salt is not None for event in joined] == [True, True, False]
        assert len({event.salt for event in joined}) == 3
        assert {user: alias.salt for user, alias in story.session.aliases.items()} == {
            ANNA: joined[0].salt,
            BEN: joined[1].salt,
        }

    def test_whoever_acts_from_outside_has_one_in_each_of_its_events(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, mic=True), mute(ANNA), record(), at=minutes(1))
        outside = [event for event in story.log if event.actor == MODERATOR]
        assert len({event.salt for event in outside}) == len(outside) == 2
        assert None not in {event.salt for event in outside}

    def test_the_coordinator_and_those_inside_have_none(self) -> None:
        story = a_life()
        for event in story.log:
            if event.actor.role is Role.SYSTEM or (event.actor.role is Role.PARTICIPANT and event.seq > 4):
                assert event.salt is None, event

    def test_a_user_called_system_is_not_the_coordinator(self) -> None:
        system = UserId("system")
        story = running(system, BEN).given(END_IT, at=minutes(1))
        after = erased_system(story, system)
        actors = {sealed.event.actor for commit in after for sealed in commit.events}
        assert Actor(user_id=system, role=Role.SYSTEM) in actors
        assert Actor(user_id=system, role=Role.PARTICIPANT) not in actors


def erased_system(story: Story, who: UserId) -> list[Commit]:
    log = story.given(erase(who)).sealed()
    after = with_replaced(log, rewritten_without(log, who))
    assert find_flaws(SESSION, stored_form(after)) == []
    assert folded(after) == story.session
    return after


def test_a_log_that_was_tampered_with_is_not_rewritten() -> None:
    story = running(ANNA, BEN).given(END_IT, at=minutes(1))
    log = story.sealed()
    log[1] = replace(log[1], hash="0" * 64)
    with pytest.raises(UnfitForErasureError, match="seq 2"):
        rewritten_without(log, ANNA)
