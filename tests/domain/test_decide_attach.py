"""Which recordings are accepted: inside an interval in which that user could be recorded, once, also after the end."""

from datetime import timedelta

import pytest

from coordinator.domain.errors import RecordingNotPermittedError
from coordinator.domain.events import RecordingAttached
from coordinator.domain.model import Recording
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END,
    MOMENT,
    PASS,
    RECORDER,
    START,
    URL,
    Story,
    attach,
    consent,
    join,
    leave,
    minutes,
    record,
    remove,
    revoke,
    running,
    said,
)


def twice_recorded() -> Story:
    """Anna could be recorded from minute 1 to 3 and from minute 5 to 8; now it is minute 9."""
    story = running(ANNA, BEN, recording=True)
    for grant, revocation in ((1, 3), (5, 8)):
        story.given(consent(ANNA), at=minutes(grant)).given(revoke(ANNA), at=minutes(revocation))
    return story.given(PASS, at=minutes(9))


@pytest.mark.parametrize(
    "start",
    [minutes(1), minutes(2), minutes(3) - MOMENT, minutes(5), minutes(8) - MOMENT],
    ids=lambda start: f"{start.total_seconds():g} s",
)
def test_inside_an_interval_it_is_attached(start: timedelta) -> None:
    story = twice_recorded()
    events = story.when(attach(ANNA, start))
    assert said(events) == [RecordingAttached(user_id=ANNA, url=URL, start_time=START + start)]
    assert events[0].actor == RECORDER
    assert story.session.recordings == (Recording(user_id=ANNA, url=URL, start_time=START + start),)


@pytest.mark.parametrize(
    "start",
    [minutes(-5), minutes(0), minutes(1) - MOMENT, minutes(3), minutes(4), minutes(5) - MOMENT, minutes(8), minutes(9)],
    ids=lambda start: f"{start.total_seconds():g} s",
)
def test_outside_it_is_refused(start: timedelta) -> None:
    story = twice_recorded()
    with pytest.raises(RecordingNotPermittedError, match="startTime"):
        story.when(attach(ANNA, start))
    assert story.session.recordings == ()


def test_the_permission_of_one_is_not_the_permission_of_another() -> None:
    story = twice_recorded()
    with pytest.raises(RecordingNotPermittedError):
        story.when(attach(BEN, minutes(2)))


def test_a_user_who_was_never_there_has_no_recordings() -> None:
    with pytest.raises(RecordingNotPermittedError, match="never"):
        twice_recorded().when(attach(CLEO, minutes(2)))


def test_while_it_lasts_the_present_instant_is_inside() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA])
    assert said(story.when(attach(ANNA, minutes(4)), at=minutes(4))) != []


@pytest.mark.parametrize("start", [minutes(14), END, END + minutes(600)], ids=["later", "at the end", "after the end"])
def test_while_it_lasts_the_future_is_not_inside(start: timedelta) -> None:
    # Whether Anna may be recorded then is not known yet; if she revokes in between, the log would contradict itself.
    story = running(ANNA, BEN, recording=True, consenting=[ANNA])
    with pytest.raises(RecordingNotPermittedError):
        story.when(attach(ANNA, start), at=minutes(4))


def test_a_repeat_changes_nothing_whatever_its_start() -> None:
    story = twice_recorded().given(attach(ANNA, minutes(2)))
    for start in (minutes(2), minutes(6), minutes(4)):
        assert story.when(attach(ANNA, start)) == []
    assert len(story.session.recordings) == 1


def test_another_url_is_another_recording() -> None:
    story = twice_recorded().given(attach(ANNA, minutes(2)))
    assert len(story.when(attach(ANNA, minutes(2), url=f"{URL}.2"))) == 1
    assert [recording.url for recording in story.session.recordings] == [URL, f"{URL}.2"]


def test_the_same_url_for_another_user_is_another_recording() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA, BEN]).given(attach(ANNA, minutes(0)))
    assert said(story.when(attach(BEN, minutes(0)))) == [RecordingAttached(user_id=BEN, url=URL, start_time=START)]


def test_after_the_end_the_same_rule_holds() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(PASS, at=END)
    ended = story.session
    for start in (-MOMENT, END):
        with pytest.raises(RecordingNotPermittedError):
            story.when(attach(ANNA, start), at=END + minutes(60))
    assert len(story.when(attach(ANNA, END - MOMENT))) == 1
    assert story.when(attach(ANNA, END - MOMENT)) == []
    assert (story.session.status, story.session.ended_at) == (ended.status, ended.ended_at)


def test_whoever_has_left_or_was_removed_keeps_the_recordings() -> None:
    story = running(ANNA, BEN, CLEO, recording=True, consenting=[ANNA, BEN]).given(leave(ANNA), remove(BEN), at=END / 2)
    for who in (ANNA, BEN):
        assert len(story.when(attach(who, minutes(1)))) == 1
        with pytest.raises(RecordingNotPermittedError):
            story.when(attach(who, END / 2, url="https://elsewhere.r2.cloudflarestorage.com/late.webm"))


def test_whoever_comes_back_keeps_the_earlier_intervals() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(leave(ANNA), at=minutes(2))
    story.given(join(ANNA), at=minutes(4))
    with pytest.raises(RecordingNotPermittedError):
        story.when(attach(ANNA, minutes(3)), at=minutes(6))
    for number, start in enumerate((minutes(1), minutes(5))):
        assert len(story.when(attach(ANNA, start, url=f"{URL}.{number}"))) == 1


def test_in_the_lobby_nobody_can_have_been_recorded() -> None:
    story = Story().given(join(ANNA), consent(ANNA), record(), at=minutes(-5))
    with pytest.raises(RecordingNotPermittedError):
        story.when(attach(ANNA, minutes(-5)))


def test_an_interval_without_length_holds_no_recording() -> None:
    story = running(ANNA, BEN, recording=True).given(consent(ANNA), revoke(ANNA), at=minutes(1))
    with pytest.raises(RecordingNotPermittedError):
        story.when(attach(ANNA, minutes(1)))
