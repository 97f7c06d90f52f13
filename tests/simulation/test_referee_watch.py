"""What must become right in calm: no ghosts, no evictions, nothing overdue, nobody left behind."""

from collections.abc import Collection
from datetime import timedelta

import pytest

from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import ConnectionId, NodeId, SessionId, UserId
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    PASS,
    SESSION,
    Story,
    join,
    laptop,
    leave,
    lose,
    media,
    minutes,
    phone,
    remove,
    running,
)
from tests.simulation.court import NODE_TIMEOUT_SECONDS, Case, caught
from tests.simulation.referee import Invariant

ALLOWANCE = 3
BOTH = {ANNA: {laptop(ANNA)}, BEN: {laptop(BEN)}}
LOSS = lose(BEN, reason=DisconnectReason.CONNECTION_LOST)
"""What another node says of a node that is silent."""
Open = dict[UserId, set[ConnectionId]]


def nodes_of(*users: UserId) -> set[NodeId]:
    return {NodeId(f"node-{user}") for user in users}


EVERYBODY = nodes_of(ANNA, BEN, CLEO)


def look(
    case: Case,
    seconds: float,
    opened: Open,
    nodes: set[NodeId] = EVERYBODY,
    *,
    is_calm: bool = True,
    others: Collection[ConnectionId] = (),
    listeners: Collection[tuple[str, SessionId]] = (),
) -> None:
    """Let so many seconds pass with a look at each, the first at once; no deadline falls due by itself."""
    for _ in range(int(seconds) + 1):
        case.referee.tick(
            case.now,
            {(SESSION, user): connections for user, connections in opened.items()},
            nodes,
            is_calm=is_calm,
            other_connections=frozenset(others),
            listeners=listeners,
        )
        case.story.clock += timedelta(seconds=1)


@pytest.fixture
def case() -> Case:
    """A running session of two."""
    return Case(running(ANNA, BEN))


def test_a_calm_world_holds(case: Case) -> None:
    look(case, 100, BOTH)
    summary = case.referee.summary()
    assert summary["ticks"] == summary["calm_ticks"] == 101
    assert (summary["ghosts"], summary["seated"], summary["deadlines"] > 0) == (202, 204, True)


# Ghosts.


def test_someone_present_without_an_open_connection_is_a_ghost_after_the_allowance(case: Case) -> None:
    look(case, ALLOWANCE, {ANNA: {laptop(ANNA)}})
    with caught(Invariant.GHOSTS, "ben is present on node-ben-1, which is not open"):
        look(case, 0, {ANNA: {laptop(ANNA)}})


def test_someone_present_on_an_older_connection_than_the_open_one_is_a_ghost(case: Case) -> None:
    with caught(Invariant.GHOSTS, "anna is present on node-anna-1"):
        look(case, ALLOWANCE + 1, {**BOTH, ANNA: {phone(ANNA)}})


def test_a_connection_that_awaits_its_answer_makes_no_ghost(case: Case) -> None:
    look(case, 20, {ANNA: {laptop(ANNA)}}, others=[laptop(BEN)])


def test_someone_present_on_a_dead_node_is_a_ghost_after_its_timeout(case: Case) -> None:
    look(case, NODE_TIMEOUT_SECONDS + ALLOWANCE, {ANNA: {laptop(ANNA)}}, nodes_of(ANNA))
    with caught(Invariant.GHOSTS, "node-ben, which does not live"):
        look(case, 0, {ANNA: {laptop(ANNA)}}, nodes_of(ANNA))


def test_whoever_is_let_go_in_time_is_no_ghost(case: Case) -> None:
    look(case, 15, {ANNA: {laptop(ANNA)}}, nodes_of(ANNA))
    case.given(lose(BEN))
    look(case, 31, {ANNA: {laptop(ANNA)}}, nodes_of(ANNA))
    case.given(PASS)
    look(case, 50, {ANNA: {laptop(ANNA)}}, nodes_of(ANNA))


def test_nothing_is_judged_while_something_goes_wrong_and_time_begins_anew_after_it(case: Case) -> None:
    look(case, 100, {}, is_calm=False)
    look(case, 100, {}, set())
    assert case.referee.summary()["calm_ticks"] == 0
    look(case, ALLOWANCE, {})
    look(case, 0, {}, is_calm=False)
    look(case, ALLOWANCE, {})
    with caught(Invariant.GHOSTS):
        look(case, 0, {})


def test_nobody_is_a_ghost_of_a_session_that_has_ended(case: Case) -> None:
    case.given(END_IT)
    look(case, 100, {})


# Seats.


@pytest.mark.parametrize("loss", [LOSS, leave(BEN), remove(BEN)], ids=lambda loss: type(loss).__name__)
def test_someone_evicted_whose_connection_is_open_is_caught(case: Case, loss: object) -> None:
    case.given(loss)  # type: ignore[arg-type]
    look(case, ALLOWANCE, BOTH)
    with caught(Invariant.SEATED, "node-ben-1 of ben is open and holds a seat"):
        look(case, 0, BOTH)


def test_someone_evicted_who_comes_back_soon_enough_holds(case: Case) -> None:
    case.given(LOSS)
    look(case, ALLOWANCE - 1, BOTH)
    case.given(join(BEN))
    look(case, 20, BOTH)


def test_an_older_connection_that_is_never_closed_is_caught(case: Case) -> None:
    case.given(join(ANNA, phone(ANNA)))
    look(case, 20, {**BOTH, ANNA: {phone(ANNA)}})
    with caught(Invariant.SEATED, "node-anna-1 of anna"):
        look(case, ALLOWANCE + 1, {**BOTH, ANNA: {laptop(ANNA), phone(ANNA)}})


def test_a_seat_in_a_session_that_has_ended_or_never_was_is_caught(case: Case) -> None:
    case.given(END_IT)
    with caught(Invariant.SEATED, "is ended"):
        look(case, ALLOWANCE + 1, BOTH)
    elsewhere = {(SessionId("0" * 24), ANNA): {laptop(ANNA)}}
    fresh = Case()
    with caught(Invariant.SEATED, "never joined, and the session is unopened"):
        for _ in range(ALLOWANCE + 2):
            fresh.referee.tick(fresh.now, elsewhere, EVERYBODY, is_calm=True)
            fresh.story.clock += timedelta(seconds=1)


def test_a_client_of_a_dead_node_may_believe_what_it_likes(case: Case) -> None:
    case.given(LOSS)
    look(case, 20, BOTH, nodes_of(ANNA))


def test_someone_back_on_the_very_same_connection_was_evicted_without_cause(case: Case) -> None:
    look(case, NODE_TIMEOUT_SECONDS + ALLOWANCE + 1, BOTH)
    case.given(LOSS)
    with caught(Invariant.SEATED, "which is still open"):
        case.given(join(BEN))


def test_that_is_the_way_back_after_a_disturbance(case: Case) -> None:
    case.given(LOSS).given(join(BEN))
    look(case, NODE_TIMEOUT_SECONDS + ALLOWANCE - 1, BOTH)
    case.given(LOSS).given(join(BEN))
    look(case, 2, BOTH)
    case.given(LOSS)
    look(case, 0, BOTH, is_calm=False)
    case.given(join(BEN))
    look(case, 60, BOTH)
    case.given(LOSS).given(join(BEN, phone(BEN)))
    assert case.referee.checked[Invariant.SEATED] > 3


# Connections that are gone.


def test_a_connection_that_its_node_declared_gone_must_not_be_open_calm_or_not(case: Case) -> None:
    case.given(lose(BEN))
    for is_calm in (True, False):
        with caught(Invariant.SEATED, "node-ben-1 is open; in the journal it was lost \\(connection_closed"):
            look(case, 0, {**BOTH, BEN: {phone(BEN)}}, others=[laptop(BEN)], is_calm=is_calm)
    with caught(Invariant.SEATED, "node-ben-1 is open"):
        look(case, 0, BOTH)


def test_a_connection_may_be_open_that_its_node_is_about_to_close(case: Case) -> None:
    case.given(lose(BEN, reason=DisconnectReason.SERVER_STOPPED))
    look(case, 2, BOTH)


@pytest.mark.parametrize("reason", [DisconnectReason.PING_TIMEOUT, DisconnectReason.SERVER_STOPPED])
def test_a_connection_that_is_gone_must_not_take_a_seat_again(case: Case, reason: DisconnectReason) -> None:
    look(case, 0, BOTH)
    case.given(lose(BEN, reason=reason)).given(join(BEN, phone(BEN)))
    with caught(Invariant.SEATED, f"node-ben-1, which was lost before \\({reason}"):
        case.given(join(BEN))


def test_a_connection_that_is_gone_must_not_join_anew(case: Case) -> None:
    look(case, 0, BOTH)
    case.given(lose(BEN)).given(PASS, at=minutes(1))
    with caught(Invariant.SEATED, "was lost before"):
        case.given(join(BEN))


def test_connections_are_not_judged_where_nobody_tells_of_them(case: Case) -> None:
    case.given(lose(BEN), join(BEN))


# Deadlines.


def test_an_overdue_deadline_is_caught_after_the_allowance() -> None:
    case = Case(Story()).given(join(ANNA), join(BEN), at=minutes(-0.1))
    look(case, 6 + ALLOWANCE, BOTH)
    with caught(Invariant.DEADLINES, "nothing has happened at 2030-03-04 18:00:00"):
        look(case, 0, BOTH)


def test_a_deadline_that_is_kept_a_little_late_holds() -> None:
    case = Case(Story()).given(join(ANNA), join(BEN), at=minutes(-0.1))
    look(case, 6 + ALLOWANCE, BOTH)
    case.given(PASS)
    look(case, 20, BOTH)


def test_a_session_that_has_ended_has_no_deadlines(case: Case) -> None:
    case.given(PASS, at=minutes(30))
    look(case, 100, {})


# Whoever listens.


def test_a_listener_that_is_left_behind_is_caught(case: Case) -> None:
    for sealed in case.events:
        case.referee.client_saw("anna's laptop", SESSION, sealed)
    listeners = [("anna's laptop", SESSION)]
    look(case, 20, BOTH, listeners=listeners)
    case.given(media(BEN, camera=True))
    look(case, ALLOWANCE, BOTH, listeners=listeners)
    with caught(Invariant.CAUGHT_UP, "anna's laptop listens, has event 4"):
        look(case, 0, BOTH, listeners=listeners)


def test_a_listener_that_gets_on_holds(case: Case) -> None:
    case.referee.client_snapshot("anna", SESSION, case.view())
    for number in range(30):
        case.given(media(BEN, camera=number % 2 == 0))
        look(case, 1, BOTH, listeners=[("anna", SESSION)])
        if number >= 1:
            case.referee.client_saw("anna", SESSION, case.events[4 + number - 1])
    assert case.referee.checked[Invariant.CAUGHT_UP] == 60
