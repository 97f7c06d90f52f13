"""What a room remembers for clients that resume: the same bytes as were sent, with little memory."""

from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId, UserId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, seal
from coordinator.services.room import RECENT_EVENTS, Room
from tests.domain.story import ANNA, SESSION, media, running


def log() -> list[Commit]:
    """A session in which so much has happened that not all of it is remembered."""
    story = running(ANNA, UserId("Zoë 🎤"))
    for turn in range(RECENT_EVENTS):
        story.given(media(ANNA, mic=turn % 2 == 0))
    events = list(story.log)
    commits: list[Commit] = []
    while events:
        some, events = events[:3], events[3:]
        commits.append(seal(CommitId("c" * 24), some, commits[-1].hash if commits else GENESIS))
    return commits


def test_what_was_decided_here_and_what_was_read_come_back_to_the_byte() -> None:
    commits = log()
    every = [sealed for commit in commits for sealed in commit.events]
    decided, read = Room(SESSION), Room(SESSION)
    for commit in commits:
        decided.apply(commit, fold((sealed.event for sealed in commit.events), decided.state))
        read.apply(commit)
    for room in (decided, read):
        assert room.recent_after(0) is None
        assert room.recent_after(len(every)) == []
        for missing in (1, 2, RECENT_EVENTS):
            assert room.recent_after(len(every) - missing) == every[-missing:]
        assert room.recent_after(len(every) - RECENT_EVENTS - 1) is None


def test_what_a_newer_version_has_written_keeps_what_this_one_does_not_know() -> None:
    commit = log()[0]
    foreign = tuple(SealedEvent(sealed.event, sealed.json[:-1] + b',"zoom":2}') for sealed in commit.events)
    room = Room(SESSION)
    room.apply(
        Commit(
            id=commit.id,
            session_id=commit.session_id,
            seq=commit.seq,
            at=commit.at,
            events=foreign,
            prev_hash=commit.prev_hash,
            hash=commit.hash,
        )
    )
    assert room.recent_after(0) == list(foreign)
