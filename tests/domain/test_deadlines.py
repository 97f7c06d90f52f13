"""What a session will do by itself, and when: in every situation, and several things at once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from coordinator.domain.deadlines import next_deadline, next_due
from coordinator.domain.events import LeftReason, ParticipantLeft, SessionEnded, SessionStarted
from coordinator.domain.model import EndReason, SessionStatus
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    EMPTY,
    END,
    END_IT,
    GRACE,
    LOBBY,
    NO_SHOW,
    PASS,
    START,
    Story,
    join,
    leave,
    lose,
    minutes,
    phone,
    running,
    said,
    seconds,
)

TIMEOUTS = {who: ParticipantLeft(user_id=who, reason=LeftReason.TIMEOUT) for who in (ANNA, BEN, CLEO)}


@pytest.mark.parametrize(
    ("story", "deadline"),
    [
        pytest.param(Story, NO_SHOW, id="an empty lobby waits for the no-show limit"),
        pytest.param(lambda: Story().given(join(ANNA)), NO_SHOW, id="so does a lobby with too few"),
        pytest.param(
            lambda: Story().given(join(ANNA), join(BEN)), timedelta(0), id="enough in the lobby wait for the start"
        ),
        pytest.param(lambda: Story().given(join(ANNA), join(BEN), leave(BEN)), NO_SHOW, id="one leaves the lobby"),
        pytest.param(lambda: Story().given(join(ANNA), lose(ANNA)), LOBBY + GRACE, id="a held seat in the lobby"),
        pytest.param(
            lambda: Story().given(join(ANNA), join(BEN)).given(lose(BEN), at=seconds(-10)),
            seconds(20),
            id="a seat held across the start",
        ),
        pytest.param(lambda: running(ANNA, BEN), END, id="a running session waits for its end"),
        pytest.param(lambda: running(ANNA, BEN).given(leave(BEN), at=minutes(1)), END, id="also with one left"),
        pytest.param(lambda: running(ANNA, BEN).given(lose(BEN), at=minutes(1)), minutes(1) + GRACE, id="one is away"),
        pytest.param(
            lambda: running(ANNA, BEN).given(lose(BEN), at=minutes(1)).given(join(BEN)), END, id="the one away is back"
        ),
        pytest.param(
            lambda: running(ANNA, BEN).given(lose(BEN), at=minutes(1)).given(lose(ANNA), at=minutes(1) + seconds(5)),
            minutes(1) + GRACE,
            id="of two held seats the earlier",
        ),
        pytest.param(
            lambda: running(ANNA, BEN).given(leave(ANNA), leave(BEN), at=minutes(2)),
            minutes(2) + EMPTY,
            id="nobody is there",
        ),
        pytest.param(
            lambda: running(ANNA, BEN).given(lose(ANNA), lose(BEN), at=minutes(2)).given(PASS, at=minutes(2) + GRACE),
            minutes(2) + EMPTY,
            id="all seats timed out",
        ),
        pytest.param(
            lambda: running(ANNA, BEN).given(leave(ANNA), leave(BEN), at=END - seconds(10)),
            END,
            id="empty, but the end is nearer",
        ),
        pytest.param(
            lambda: running(ANNA, BEN).given(lose(ANNA), at=END - seconds(10)), END, id="away, but the end is nearer"
        ),
        pytest.param(lambda: running(ANNA, BEN).given(END_IT), None, id="ended by a moderator"),
        pytest.param(lambda: Story().given(PASS, at=NO_SHOW), None, id="ended for want of participants"),
        pytest.param(lambda: running(ANNA, BEN).given(lose(ANNA), at=END).given(PASS), None, id="ended on time"),
    ],
)
def test_the_next_deadline(story: Callable[[], Story], deadline: timedelta | None) -> None:
    assert story().deadline == deadline


def test_the_deadline_names_what_it_brings() -> None:
    story = Story().given(join(ANNA), join(BEN))
    assert next_due(story.session) == (START, SessionStarted())
    story.given(PASS, at=minutes(0))
    assert next_due(story.session) == (START + END, SessionEnded(reason=EndReason.COMPLETED))


class TestOverdue:
    """Whatever fell due while nothing was running happens at start-up, in the order in which it was due."""

    def test_start_and_end(self) -> None:
        story = Story().given(join(ANNA), join(BEN), at=minutes(-5))
        assert said(story.when(PASS, at=END + minutes(60))) == [
            SessionStarted(),
            SessionEnded(reason=EndReason.COMPLETED),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]

    def test_seats_then_the_empty_room(self) -> None:
        story = running(ANNA, BEN, CLEO)
        for number, who in enumerate((CLEO, ANNA, BEN)):
            story.given(lose(who), at=minutes(3) + seconds(number))
        assert said(story.when(PASS, at=END + minutes(60))) == [
            TIMEOUTS[CLEO],
            TIMEOUTS[ANNA],
            TIMEOUTS[BEN],
            SessionEnded(reason=EndReason.EMPTY),
        ]

    def test_some_seats_then_the_end(self) -> None:
        story = running(ANNA, BEN, CLEO).given(lose(CLEO), at=minutes(3)).given(lose(BEN), at=END - seconds(10))
        story.given(PASS, at=minutes(3) + GRACE)
        assert said(story.when(PASS, at=END + minutes(60))) == [
            SessionEnded(reason=EndReason.COMPLETED),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]

    def test_seats_then_the_no_show(self) -> None:
        story = Story().given(join(ANNA), join(BEN), lose(ANNA), at=minutes(-5))
        assert said(story.when(PASS, at=END)) == [
            TIMEOUTS[ANNA],
            SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]

    def test_all_carry_the_instant_at_which_they_were_decided(self) -> None:
        story = Story().given(join(ANNA), join(BEN), lose(ANNA), at=minutes(-5))
        assert {event.at for event in story.when(PASS, at=END)} == {START + END}

    def test_only_what_is_due_happens(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3)).given(lose(BEN), at=minutes(3) + seconds(20))
        assert said(story.when(PASS, at=minutes(3) + GRACE)) == [TIMEOUTS[ANNA]]
        assert story.deadline == minutes(3) + seconds(20) + GRACE

    def test_at_one_instant_seats_are_freed_before_the_session_starts(self) -> None:
        story = Story().given(join(ANNA), join(BEN), join(CLEO), at=minutes(-5)).given(lose(CLEO), at=-GRACE)
        assert said(story.when(PASS, at=minutes(0))) == [TIMEOUTS[CLEO], SessionStarted()]

    def test_at_one_instant_seats_are_freed_before_the_session_ends(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=END - GRACE)
        assert said(story.when(PASS, at=END)) == [
            TIMEOUTS[ANNA],
            SessionEnded(reason=EndReason.COMPLETED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]

    def test_a_start_comes_before_the_no_show_at_the_same_instant(self) -> None:
        story = Story(no_show_at=START).given(join(ANNA), join(BEN), at=minutes(-5))
        story.given(PASS, at=minutes(0))
        assert story.session.status is SessionStatus.ACTIVE

    def test_a_command_comes_after_what_was_overdue(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3))
        story.given(join(ANNA, via=phone(ANNA)), at=minutes(3) + GRACE)
        assert [body.kind for body in said(story.log)[-2:]] == ["participant_left", "participant_joined"]


def test_deadlines_are_the_same_whoever_asks() -> None:
    story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3))
    assert next_deadline(story.session) == next_deadline(story.session) == START + minutes(3) + GRACE
