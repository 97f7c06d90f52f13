"""What subscribers and documents may show: the journal, exactly and in order, and its fold."""

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import SealedEvent
from coordinator.domain.model import Participant, ParticipantStatus, Session
from coordinator.services.catching_up import Snapshot, View
from tests.domain.story import ANNA, BEN, CLEO, SESSION, Story, consent, join, leave, media, minutes, running
from tests.simulation.court import Case, caught
from tests.simulation.referee import Invariant


@pytest.fixture
def case() -> Case:
    """A running session of two, in which a camera is switched."""
    return Case(running(ANNA, BEN)).given(media(ANNA, camera=True), at=minutes(1))


def show(case: Case, *seqs: int, client: str = "anna") -> None:
    for seq in seqs:
        case.referee.client_saw(client, SESSION, case.events[seq - 1])


# Events.


def test_events_in_order_hold_from_the_first_or_from_a_snapshot_on(case: Case) -> None:
    show(case, 1, 2, 3, 4, 5)
    case.referee.client_snapshot("ben", SESSION, case.view(3))
    show(case, 4, 5, client="ben")
    assert case.referee.checked[Invariant.VIEWS] == 7
    assert case.referee.checked[Invariant.SNAPSHOTS] == 1


def test_equal_bytes_from_another_node_hold(case: Case) -> None:
    first = case.events[0]
    case.referee.client_saw("anna", SESSION, SealedEvent(first.event, bytes(bytearray(first.json))))


def test_an_event_that_is_left_out_is_caught(case: Case) -> None:
    show(case, 1, 2)
    with caught(Invariant.VIEWS, "saw event 4 after 2: it missed some"):
        show(case, 4)
    with caught(Invariant.VIEWS, "saw event 2 after 0"):
        show(case, 2, client="ben")


def test_an_event_that_comes_twice_is_caught(case: Case) -> None:
    show(case, 1, 2)
    with caught(Invariant.VIEWS, "has it already"):
        show(case, 2)


def test_an_event_that_is_not_durable_is_caught(case: Case) -> None:
    (event,) = case.made(join(CLEO))
    show(case, 1, 2, 3, 4, 5)
    (early,) = case.next_commit([event]).events
    with caught(Invariant.VIEWS, "before it was durable"):
        case.referee.client_saw("anna", SESSION, early)
    with caught(Invariant.VIEWS, "before it was durable"):
        case.referee.client_saw("anna", SessionId("0" * 24), case.events[0])


def test_an_event_other_than_the_journal_has_it_is_caught(case: Case) -> None:
    first = case.events[0]
    with caught(Invariant.VIEWS, "the journal has"):
        case.referee.client_saw("anna", SESSION, SealedEvent(first.event, first.json.replace(b"anna", b"ben")[:-1]))


def test_a_replay_takes_a_client_to_where_its_view_is(case: Case) -> None:
    show(case, 1, 2)
    case.referee.client_snapshot("anna", SESSION, View(SESSION, 5, case.now, events=case.events[2:]))
    case.referee.client_snapshot("anna", SESSION, View(SESSION, 5, case.now, events=[]))
    with caught(Invariant.VIEWS, "is at 5 after a view of 6"):
        case.referee.client_snapshot("anna", SESSION, View(SESSION, 6, case.now, events=[]))
    with caught(Invariant.VIEWS, "has it already"):
        case.referee.client_snapshot("anna", SESSION, View(SESSION, 5, case.now, events=case.events[4:]))


# Snapshots.


def test_a_snapshot_that_differs_from_the_fold_is_caught(case: Case) -> None:
    true = case.snapshot()
    anna, ben = true.participants
    altered = [
        replace(true, session=replace(true.session, recording_enabled=True)),
        replace(true, session=replace(true.session, seq=4)),
        replace(true, participants=[replace(anna, camera_enabled=False), ben]),
        replace(true, participants=[anna]),
    ]
    for snapshot in altered:
        with caught(Invariant.SNAPSHOTS, "the journal says"):
            case.referee.client_snapshot("anna", SESSION, View(SESSION, 5, case.now, snapshot=snapshot))
    with caught(Invariant.SNAPSHOTS, "of session 0"):
        view = View(SessionId("0" * 24), 5, case.now, snapshot=true)
        case.referee.client_snapshot("anna", SESSION, view)


def test_a_snapshot_of_what_is_not_durable_is_caught(case: Case) -> None:
    ahead = Case(case.story, None).given(join(CLEO)).view()
    with caught(Invariant.VIEWS, "not durable"):
        case.referee.client_snapshot("anna", SESSION, ahead)


def test_a_view_that_runs_backwards_is_caught(case: Case) -> None:
    show(case, 1, 2, 3, 4, 5)
    case.referee.client_snapshot("anna", SESSION, case.view(5))
    with caught(Invariant.VIEWS, "runs backwards"):
        case.referee.client_snapshot("anna", SESSION, case.view(4))


# Documents.


def documents(case: Case, seq: int | None = None) -> tuple[Session, list[Participant]]:
    snapshot = case.snapshot(seq)
    return snapshot.session, snapshot.participants


def test_documents_that_follow_the_journal_hold() -> None:
    case = Case(Story()).given(join(ANNA), join(BEN), at=minutes(-5))
    case.referee.document_written(*documents(case, 2))
    case.referee.document_written(*documents(case))
    case.given(consent(ANNA), leave(ANNA), join(ANNA))
    session, (anna, _ben) = documents(case)
    case.referee.document_written(None, [anna])
    case.referee.document_written(session, [])
    case.referee.document_written(session, [anna])
    assert case.referee.checked[Invariant.DOCUMENTS] == 9


def test_a_document_that_differs_from_the_fold_is_caught(case: Case) -> None:
    session, participants = documents(case)
    with caught(Invariant.DOCUMENTS, "its document of seq 5 is"):
        case.referee.document_written(replace(session, recording_enabled=True), participants)
    with caught(Invariant.DOCUMENTS, "its document of seq 4 is"):
        case.referee.document_written(replace(session, seq=4), participants)
    anna, ben = participants
    for altered in (replace(anna, mic_enabled=True), replace(anna, seq=4), replace(ben, user_id=CLEO)):
        with caught(Invariant.DOCUMENTS, "the document of (anna|cleo) of seq"):
            case.referee.document_written(None, [altered])


def test_a_document_altered_in_place_is_caught(case: Case) -> None:
    session, (anna, ben) = documents(case)
    case.referee.document_written(session, [anna, ben])
    with caught(Invariant.DOCUMENTS, "the journal says"):
        case.referee.document_written(session, [replace(anna, status=ParticipantStatus.WAITING), ben])


def test_a_document_of_what_is_not_durable_is_caught(case: Case) -> None:
    session, (anna, _) = documents(case)
    with caught(Invariant.DOCUMENTS, "not durable"):
        case.referee.document_written(replace(session, seq=6), [])
    with caught(Invariant.DOCUMENTS, "not durable"):
        case.referee.document_written(None, [replace(anna, seq=6)])
    with caught(Invariant.DOCUMENTS, "not durable"):
        case.referee.document_written(replace(session, id=SessionId("0" * 24)), [])


def test_a_document_that_runs_backwards_is_caught(case: Case) -> None:
    session, participants = documents(case)
    case.referee.document_written(session, participants)
    older, (anna, _) = documents(case, 4)
    with caught(Invariant.DOCUMENTS, "older than the one before, of 5"):
        case.referee.document_written(older, [])
    with caught(Invariant.DOCUMENTS, "older than the one before, of 5"):
        case.referee.document_written(None, [anna])


def test_a_session_ahead_of_its_participants_is_caught(case: Case) -> None:
    session, (anna, _) = documents(case)
    with caught(Invariant.DOCUMENTS, "that of ben is None"):
        case.referee.document_written(session, [anna])
    fresh = Case(case.story)
    fresh.referee.document_written(None, documents(fresh, 4)[1])
    with caught(Invariant.DOCUMENTS, "not yet of seq 5"):
        fresh.referee.document_written(session, [])


def test_a_snapshot_is_told_by_its_parts(case: Case) -> None:
    session, participants = documents(case)
    assert case.view().snapshot == Snapshot(session, participants)
