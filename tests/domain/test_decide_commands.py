"""What holds for every command: on an unopened session, on an ended one, and when it is repeated."""

import pytest

from coordinator.domain.commands import (
    AdvanceTime,
    AttachRecording,
    Command,
    DisconnectParticipant,
    EndSession,
    EraseUser,
    JoinSession,
    LeaveSession,
    MuteParticipant,
    OpenSession,
    ReconnectParticipant,
    RemoveParticipant,
    SetMedia,
    SetRecording,
    SetRecordingConsent,
)
from coordinator.domain.decide import decide
from coordinator.domain.errors import CoordinatorError, SessionEndedError, SessionNotOpenError
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    OPEN,
    PASS,
    SESSION,
    START,
    Story,
    attach,
    back,
    consent,
    erase,
    join,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
    running,
    salt,
)

ONE_OF_EACH: dict[type[Command], Command] = {
    OpenSession: OPEN,
    JoinSession: join(ANNA),
    LeaveSession: leave(ANNA),
    DisconnectParticipant: lose(ANNA),
    ReconnectParticipant: back(ANNA),
    SetMedia: media(ANNA, camera=True, mic=True),
    SetRecordingConsent: consent(ANNA),
    AdvanceTime: PASS,
    EndSession: END_IT,
    MuteParticipant: mute(ANNA),
    RemoveParticipant: remove(ANNA),
    SetRecording: record(),
    AttachRecording: attach(ANNA, minutes(0)),
    EraseUser: erase(ANNA),
}

WHEN_ENDED: dict[type[Command], type[CoordinatorError] | None] = {
    OpenSession: None,
    JoinSession: SessionEndedError,
    LeaveSession: None,
    DisconnectParticipant: None,
    ReconnectParticipant: None,
    SetMedia: SessionEndedError,
    SetRecordingConsent: SessionEndedError,
    AdvanceTime: None,
    EndSession: None,
    MuteParticipant: SessionEndedError,
    RemoveParticipant: SessionEndedError,
    SetRecording: SessionEndedError,
}


def test_the_tables_name_every_command() -> None:
    assert set(ONE_OF_EACH) == set(Command.__args__)
    assert set(WHEN_ENDED) == set(Command.__args__) - {AttachRecording, EraseUser}


@pytest.mark.parametrize("command", ONE_OF_EACH.values(), ids=lambda command: type(command).__name__)
def test_an_unopened_session_hears_only_its_opening(command: Command) -> None:
    story = Story(opened=False)
    if isinstance(command, OpenSession):
        assert len(story.when(command)) == 1
        return
    with pytest.raises(SessionNotOpenError):
        story.when(command)
    assert story.state is None


@pytest.mark.parametrize("kind", WHEN_ENDED, ids=lambda kind: kind.__name__)
def test_an_ended_session_stays_as_it_is(kind: type[Command]) -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(END_IT, at=minutes(5))
    ended = story.session
    refusal = WHEN_ENDED[kind]
    if refusal is None:
        assert story.when(ONE_OF_EACH[kind], at=minutes(6)) == []
    else:
        with pytest.raises(refusal):
            story.when(ONE_OF_EACH[kind], at=minutes(6))
    assert story.session == ended


@pytest.mark.parametrize("kind", [AttachRecording, EraseUser])
def test_an_ended_session_still_takes_recordings_and_erases_users(kind: type[Command]) -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(END_IT, at=minutes(5))
    assert len(story.when(ONE_OF_EACH[kind])) == 1
    assert story.when(ONE_OF_EACH[kind]) == []


@pytest.mark.parametrize(
    "command",
    [
        OPEN,
        join(CLEO),
        join(ANNA, via=phone(ANNA)),
        leave(ANNA),
        lose(ANNA),
        media(ANNA, camera=True, mic=True),
        media(ANNA, camera=False),
        consent(ANNA, "2030-02"),
        consent(BEN),
        revoke(ANNA, "2030-02"),
        revoke(ANNA),
        PASS,
        END_IT,
        mute(BEN),
        record(enabled=False),
        record(),
        attach(ANNA, minutes(0)),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_command_repeated_changes_nothing(command: Command) -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(media(BEN, mic=True))
    story.when(command, at=minutes(1))
    after = story.session
    for later in (minutes(1), minutes(1.25)):
        assert story.when(command, at=later) == []
        assert story.session == after


def test_removing_again_changes_nothing() -> None:
    story = running(ANNA, BEN, CLEO).given(remove(ANNA))
    assert story.when(remove(ANNA)) == []


def test_a_refusal_leaves_no_trace_of_what_came_due() -> None:
    # What is overdue is decided first, in a commit of its own, so that a refused command cannot undo it.
    story = Story().given(join(ANNA), at=minutes(-5))
    waiting = story.session
    with pytest.raises(CoordinatorError):
        decide(SESSION, waiting, media(BEN, mic=True), START + minutes(10), salt(0))
    with pytest.raises(SessionEndedError):
        story.when(media(BEN, mic=True), at=minutes(10))
    assert len(story.commits[-1]) == 2, "the end, and Anna's leaving"


def test_nothing_to_do_is_a_valid_answer() -> None:
    story = running(ANNA, BEN)
    decision = decide(SESSION, story.state, PASS, START + minutes(1), salt(0))
    assert (decision.events, decision.state) == ([], story.state)
