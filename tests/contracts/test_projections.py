"""The port `Projections`, sentence by sentence, over every backend."""

import asyncio
import random
from datetime import timedelta

from coordinator.domain.ids import UserId
from coordinator.domain.model import Participant, ParticipantStatus, Recording, Session, SessionStatus
from coordinator.ports.projections import Projections
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    MOMENT,
    NOON,
    URL,
    full_session,
    new_session_id,
    participant,
    session,
)


async def test_documents_come_back_as_they_were_written(projections: Projections) -> None:
    plain, full = session(), full_session()
    away = participant(full.id, CLEO, status=ParticipantStatus.DISCONNECTED, left_at=NOON + 3 * MOMENT)
    await projections.write([plain, full], [participant(plain.id), away])
    assert await projections.session(plain.id) == plain
    assert await projections.session(full.id) == full
    assert list(await projections.participants(plain.id)) == [participant(plain.id)]
    assert list(await projections.participants(full.id)) == [away]


async def test_an_unknown_session_has_no_documents(projections: Projections) -> None:
    await projections.write([session()], [participant(new_session_id())])
    assert await projections.session(new_session_id()) is None
    assert list(await projections.participants(new_session_id())) == []


async def test_writing_nothing_changes_nothing(projections: Projections) -> None:
    await projections.write([], [])
    assert list(await projections.live()) == []


async def test_a_document_with_a_higher_seq_replaces_the_whole_one(projections: Projections) -> None:
    session_id = new_session_id()
    late = timedelta(minutes=1)
    await projections.write(
        [
            session(
                session_id, seq=5, next_deadline=NOON, recordings=(Recording(user_id=ANNA, url=URL, start_time=NOON),)
            )
        ],
        [participant(session_id, seq=5, left_at=NOON, status=ParticipantStatus.DISCONNECTED)],
    )
    newer = session(session_id, seq=6, status=SessionStatus.ACTIVE, started_at=NOON + late)
    back = participant(session_id, seq=6, camera_enabled=True)
    await projections.write([newer], [back])
    assert await projections.session(session_id) == newer  # also without what the newer one does not have
    assert list(await projections.participants(session_id)) == [back]


async def test_a_document_with_the_same_or_a_lower_seq_changes_nothing(projections: Projections) -> None:
    session_id = new_session_id()
    stored, there = session(session_id, seq=5), participant(session_id, seq=5)
    await projections.write([stored], [there])
    for seq in (5, 4, 1):
        await projections.write(
            [session(session_id, seq=seq, recording_enabled=True)],
            [participant(session_id, seq=seq, mic_enabled=False)],
        )
        assert await projections.session(session_id) == stored
        assert list(await projections.participants(session_id)) == [there]


async def test_each_document_of_a_write_is_decided_on_its_own(projections: Projections) -> None:
    old, new, first = session(seq=9), session(seq=1), session(seq=1)
    await projections.write([old, new], [participant(old.id, ANNA, seq=9), participant(old.id, BEN, seq=1)])
    late = session(old.id, seq=8, recording_enabled=True)
    newer = session(new.id, seq=2, recording_enabled=True)
    stale_anna = participant(old.id, ANNA, seq=8, mic_enabled=False)
    newer_ben = participant(old.id, BEN, seq=2, mic_enabled=False)
    first_cleo = participant(old.id, CLEO, seq=1)
    await projections.write([late, newer, first], [stale_anna, newer_ben, first_cleo])
    assert [await projections.session(item.id) for item in (old, new, first)] == [old, newer, first]
    found = {item.user_id: item for item in await projections.participants(old.id)}
    assert found == {ANNA: participant(old.id, ANNA, seq=9), BEN: newer_ben, CLEO: first_cleo}


def versions(sessions: int, users: int, last_seq: int) -> tuple[list[Session], list[Participant]]:
    """Every version, from 1 to `last_seq`, of so many sessions with so many participants each."""
    ids = [new_session_id() for _ in range(sessions)]
    every_session = [
        session(item, seq=seq, updated_at=NOON + seq * MOMENT) for item in ids for seq in range(1, last_seq + 1)
    ]
    every_participant = [
        participant(version.id, user, seq=version.seq, mic_enabled=version.seq % 2 == 0)
        for version in every_session
        for user in (ANNA, BEN, CLEO)[:users]
    ]
    return every_session, every_participant


async def test_any_number_of_documents_goes_in_one_write(projections: Projections) -> None:
    session_id = new_session_id()
    crowd = [participant(session_id, UserId(f"user{number:03}")) for number in range(203)]
    await projections.write([session(session_id)], crowd)
    assert list(await projections.participants(session_id)) == crowd


async def check_last_versions(projections: Projections, every: list[Session], last_seq: int, users: int) -> None:
    for version in every:
        if version.seq == last_seq:
            assert await projections.session(version.id) == version
            found = await projections.participants(version.id)
            assert [(item.seq, item.mic_enabled) for item in found] == [(last_seq, last_seq % 2 == 0)] * users


async def test_late_repeated_and_reordered_writes_are_harmless(projections: Projections) -> None:
    for number in range(5):
        dice = random.Random(number)
        sessions, participants = versions(2, 2, 5)
        shuffled = dice.sample([*sessions, *sessions], 2 * len(sessions))
        others = dice.sample([*participants, *participants], 2 * len(participants))
        while shuffled or others:
            # A document appears at most once in a write, as the writer has only one last state of it.
            some = {item.id: item for item in shuffled[:3]}
            more = {(item.session_id, item.user_id): item for item in others[:5]}
            await projections.write(list(some.values()), list(more.values()))
            shuffled = [item for item in shuffled if not any(item is done for done in some.values())]
            others = [item for item in others if not any(item is done for done in more.values())]
        await check_last_versions(projections, sessions, 5, 2)


async def test_the_highest_seq_wins_among_simultaneous_writes(projections: Projections) -> None:
    last_seq = 12
    sessions, participants = versions(3, 3, last_seq)
    by_seq = [
        ([item for item in sessions if item.seq == seq], [item for item in participants if item.seq == seq])
        for seq in range(1, last_seq + 1)
    ]
    random.Random(4).shuffle(by_seq)
    # All of them find no document at first, so each tries to make it.
    await asyncio.gather(*(projections.write(*some) for some in by_seq))
    await check_last_versions(projections, sessions, last_seq, 3)


async def test_participants_come_in_the_order_in_which_they_first_joined(projections: Projections) -> None:
    session_id = new_session_id()
    joined = [
        participant(session_id, BEN, joined_at=NOON, seq=9),
        participant(session_id, CLEO, joined_at=NOON + MOMENT, seq=3),
        participant(session_id, ANNA, joined_at=NOON + 2 * MOMENT, seq=4),
    ]
    await projections.write([], [joined[1], joined[2], joined[0]])
    await projections.write([], [participant(new_session_id(), ANNA, joined_at=NOON)])
    assert list(await projections.participants(session_id)) == joined


async def test_participants_of_the_same_instant_come_in_the_same_order_everywhere(projections: Projections) -> None:
    session_id = new_session_id()
    await projections.write([], [participant(session_id, user) for user in (CLEO, BEN, ANNA)])
    assert [item.user_id for item in await projections.participants(session_id)] == [ANNA, BEN, CLEO]


async def test_rebuild_makes_the_documents_equal_whatever_is_stored(projections: Projections) -> None:
    session_id, other_id = new_session_id(), new_session_id()
    others = [participant(other_id, ANNA), participant(other_id, BEN)]
    await projections.write([full_session(session_id), session(other_id)], others)
    await projections.write([], [participant(session_id, user, seq=99) for user in (ANNA, BEN)])
    wanted, anna, cleo = session(session_id, seq=3), participant(session_id, ANNA), participant(session_id, CLEO)
    for _ in range(2):
        await projections.rebuild(wanted, [anna, cleo])
        assert await projections.session(session_id) == wanted
        assert list(await projections.participants(session_id)) == [anna, cleo]
    assert await projections.session(other_id) == session(other_id)
    assert list(await projections.participants(other_id)) == others


async def test_rebuild_works_without_anything_stored_and_without_participants(projections: Projections) -> None:
    wanted = session(seq=1)
    await projections.rebuild(wanted, [])
    assert await projections.session(wanted.id) == wanted
    await projections.rebuild(wanted, [participant(wanted.id)])
    await projections.rebuild(wanted, [])
    assert list(await projections.participants(wanted.id)) == []


async def test_writing_goes_on_after_a_rebuild(projections: Projections) -> None:
    session_id = new_session_id()
    await projections.write([session(session_id, seq=50)], [participant(session_id, seq=50)])
    await projections.rebuild(session(session_id, seq=3), [participant(session_id, seq=3)])
    newer, there = session(session_id, seq=4, recording_enabled=True), participant(session_id, seq=4, mic_enabled=False)
    await projections.write([newer], [there])
    assert await projections.session(session_id) == newer
    assert list(await projections.participants(session_id)) == [there]


async def test_live_names_the_sessions_that_wait_or_are_active(projections: Projections) -> None:
    waiting = [session() for _ in range(3)]
    active = [session(status=SessionStatus.ACTIVE) for _ in range(3)]
    ended = [session(status=SessionStatus.ENDED) for _ in range(3)]
    await projections.write([*ended, *active, *waiting], [])
    assert sorted(await projections.live()) == sorted(item.id for item in (*waiting, *active))
    await projections.write([session(active[0].id, status=SessionStatus.ENDED, seq=2)], [])
    assert sorted(await projections.live()) == sorted(item.id for item in (*waiting, *active[1:]))


async def test_due_names_the_sessions_whose_deadline_is_not_after_an_instant(projections: Projections) -> None:
    due = [session(next_deadline=NOON - number * MOMENT) for number in range(5)]
    later = session(next_deadline=NOON + MOMENT)
    await projections.write([session(), later, *due, session(status=SessionStatus.ENDED)], [])
    most_overdue_first = [item.id for item in reversed(due)]
    assert list(await projections.due(NOON, 100)) == most_overdue_first
    assert list(await projections.due(NOON, 3)) == most_overdue_first[:3]
    assert list(await projections.due(NOON, 0)) == []
    assert list(await projections.due(NOON - 4 * MOMENT, 100)) == most_overdue_first[:1]
    assert list(await projections.due(NOON - 5 * MOMENT, 100)) == []
    assert later.id in await projections.due(NOON + MOMENT, 100)


async def test_a_deadline_that_moved_or_vanished_is_no_longer_due(projections: Projections) -> None:
    moved, gone = session(next_deadline=NOON), session(next_deadline=NOON)
    await projections.write([moved, gone], [])
    await projections.write([session(moved.id, seq=2, next_deadline=NOON + MOMENT), session(gone.id, seq=2)], [])
    assert list(await projections.due(NOON, 100)) == []


async def test_how_far_the_documents_of_sessions_are(projections: Projections) -> None:
    first, second, unknown = session(seq=3), session(seq=7), new_session_id()
    await projections.write([first, second], [])
    assert await projections.seqs([first.id, unknown, second.id]) == {first.id: 3, second.id: 7}
    assert await projections.seqs([unknown]) == {}
    assert await projections.seqs([]) == {}
    await projections.write([session(first.id, seq=4)], [])
    assert await projections.seqs([first.id]) == {first.id: 4}
