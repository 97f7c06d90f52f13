"""What a recorder concludes from the feed is what the journal says: when whom it may record (SPEC section 2)."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from coordinator.domain.commands import AttachRecording, Command
from coordinator.domain.decide import decide
from coordinator.domain.errors import CoordinatorError, RecordingNotPermittedError
from coordinator.domain.evolve import fold
from coordinator.domain.ids import UserId
from coordinator.domain.state import Interval, SessionState
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END_IT,
    MOMENT,
    PASS,
    RECORDER,
    SESSION,
    START,
    URL,
    Story,
    consent,
    join,
    leave,
    lose,
    media,
    phone,
    record,
    remove,
    revoke,
    salt,
)
from tests.services.feeds import Recorder, staged

USERS = (ANNA, BEN, CLEO)
OFTEN: list[Command] = [
    command
    for user in USERS
    for command in (join(user), join(user, phone(user)), lose(user), consent(user), consent(user), revoke(user))
]
COMMANDS = [
    *OFTEN,
    *OFTEN,
    *(leave(user) for user in USERS),
    record(),
    record(),
    record(False),
    PASS,
    remove(CLEO),
    END_IT,
]
GAPS = [timedelta(milliseconds=count) for count in (0, 0, 1, 999, 20_000, 31_000, 120_000)]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw a session with a few users, in which anything may happen in any order."""
    story = Story().given(*(join(user) for user in USERS), at=timedelta(minutes=-1))
    if draw(st.booleans()):
        story.given(record(), *(consent(user) for user in USERS))
    at = timedelta(seconds=draw(st.sampled_from([-30, 0, 5])))
    for gap, command in draw(st.lists(st.tuples(st.sampled_from(GAPS), st.sampled_from(COMMANDS)), max_size=40)):
        at += gap
        try:
            story.given(command, media(ANNA, mic=bool(at.seconds % 2)), at=at)
        except CoordinatorError:
            continue
    return story


async def told(story: Story, dice: st.DataObject) -> Recorder:
    """Let the feed tell a story, of which some is history, some is skipped by the stream, and the node may die."""
    async with staged() as stage:
        commits = story.sealed()
        history = dice.draw(st.integers(0, len(commits)), label="commits before the recorder comes")
        skipped = dice.draw(st.sets(st.integers(history, len(commits))), label="commits that the stream skips")
        death = dice.draw(st.none() | st.integers(history, len(commits)), label="commits before the node dies")
        for commit in commits[:history]:
            await stage.journal.append([commit])
        recorder = await stage.station("a0").recorder("recorder", "beginning")
        records = recorder.records
        for number, commit in enumerate(commits[history:], start=history):
            if number == death:
                await stage.settle()
                if recorder.records:
                    await recorder.ack()
                await stage.stations[0].crash()
                recorder = await stage.station("b0").recorder("recorder")
                recorder.records[:0] = records
            await stage.journal.append([commit])
            if number in skipped and number < len(commits) - 1:
                stage.journal.in_arrival.pop()
        await stage.advance(3)
        return recorder


def intervals_of(events: Sequence[Mapping[str, Any]]) -> dict[UserId, list[Interval]]:
    """Conclude from the events alone when each user may be recorded."""
    found: dict[UserId, list[Interval]] = defaultdict(list)
    for entry in events:
        user, at = UserId(entry["data"].get("userId", "")), datetime.fromisoformat(entry["at"])
        if entry["type"] == "recording_permitted":
            assert not found[user] or found[user][-1].end is not None
            found[user].append(Interval(at))
        elif entry["type"] == "recording_withdrawn":
            assert found[user][-1].end is None
            found[user][-1] = Interval(found[user][-1].start, at)
    return {user: intervals for user, intervals in found.items() if intervals}


def is_accepted(state: SessionState, user: UserId, start: datetime, now: datetime) -> bool:
    command = AttachRecording(actor=RECORDER, user_id=user, url=URL, start_time=start)
    try:
        decision = decide(SESSION, state, command, now, salt(1))
    except RecordingNotPermittedError:
        return False
    assert [entry.body.kind for entry in decision.events] == ["recording_attached"]
    return True


@settings(max_examples=100, deadline=None)
@given(stories(), st.data())
def test_the_feed_tells_when_whom_one_may_record_and_nothing_else_is_accepted(
    story: Story, data: st.DataObject
) -> None:
    events = [entry for _, entry in asyncio.run(told(story, data)).records]
    concluded = intervals_of(events)
    state = fold(story.log)
    assert state is not None
    recordable = {user: list(item.recordable) for user, item in state.participants.items() if item.recordable}
    assert concluded == recordable
    event(f"{min(3, sum(map(len, recordable.values())))} intervals or more")

    now = story.clock
    drawn = data.draw(st.lists(st.integers(-60_000, 2_000_000), max_size=5), label="instants")
    instants = {now, now + MOMENT, *(START + timedelta(milliseconds=count) for count in drawn)}
    for interval in (interval for intervals in recordable.values() for interval in intervals):
        for edge in (interval.start, interval.end or now):
            instants |= {edge - MOMENT, edge, edge + MOMENT}
    for user in (*USERS, DINA):
        for start in instants:
            inside = any(interval.contains(start) for interval in concluded.get(user, ())) and start <= now
            assert is_accepted(state, user, start, now) is inside
