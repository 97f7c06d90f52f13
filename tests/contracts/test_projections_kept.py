"""The port `Projections`, over every backend: what is found of a user, and what is left when sessions are forgotten."""

import pytest

from coordinator.domain.ids import SessionId
from coordinator.ports.projections import Projections
from tests.contracts.making import ANNA, BEN, CLEO, full_session, new_session_id, participant, session


async def known(projections: Projections) -> set[SessionId]:
    return {session_id async for session_id in projections.session_ids()}


async def test_sessions_of_a_user_come_by_id_in_pages(projections: Projections) -> None:
    ids = [new_session_id() for _ in range(9)]
    mine, others = ids[::2], ids[1::2]
    await projections.write([], [participant(item, CLEO) for item in reversed(mine)])
    await projections.write([], [participant(item, user) for item in ids for user in (ANNA, BEN)])
    assert list(await projections.sessions_of(CLEO, None, 100)) == sorted(mine)
    for limit in (1, 2, 5):
        found: list[SessionId] = []
        while page := await projections.sessions_of(CLEO, found[-1] if found else None, limit):
            assert len(page) <= limit
            found += page
        assert found == sorted(mine)
    # The place after which it goes on need not be one of the user's own.
    assert list(await projections.sessions_of(CLEO, others[0], 2)) == sorted(mine)[1:3]


async def test_a_user_without_a_part_has_no_sessions(projections: Projections) -> None:
    await projections.write([session()], [participant(new_session_id(), ANNA)])
    assert list(await projections.sessions_of(BEN, None, 10)) == []


async def test_every_session_that_has_any_document_is_known(projections: Projections) -> None:
    whole, bare, vanished = new_session_id(), new_session_id(), new_session_id()
    await projections.write([session(whole), session(bare)], [participant(whole), participant(vanished)])
    assert await known(projections) == {whole, bare, vanished}


async def test_what_is_discarded_is_gone_and_nothing_else(projections: Projections) -> None:
    gone, kept = new_session_id(), new_session_id()
    people = [participant(item, user) for item in (gone, kept) for user in (ANNA, BEN)]
    await projections.write([full_session(gone), full_session(kept)], people)
    for _ in range(2):
        await projections.discard(gone)
        assert await projections.session(gone) is None
        assert list(await projections.participants(gone)) == []
        assert list(await projections.sessions_of(ANNA, None, 10)) == [kept]
        assert await known(projections) == {kept}
    assert await projections.session(kept) == full_session(kept)
    assert list(await projections.participants(kept)) == people[2:]


@pytest.mark.parametrize("is_there", [True, False])
async def test_rebuilding_participants_leaves_the_session_as_it_is(projections: Projections, is_there: bool) -> None:
    session_id, other_id = new_session_id(), new_session_id()
    await projections.write([session(session_id, seq=9)] if is_there else [], [participant(other_id)])
    await projections.write([], [participant(session_id, user, seq=99) for user in (ANNA, BEN)])
    anna, cleo = participant(session_id, ANNA), participant(session_id, CLEO)
    for _ in range(2):
        await projections.rebuild_participants(session_id, [anna, cleo])
        assert list(await projections.participants(session_id)) == [anna, cleo]
        assert await projections.session(session_id) == (session(session_id, seq=9) if is_there else None)
    await projections.rebuild_participants(session_id, [])
    assert list(await projections.participants(session_id)) == []
    assert list(await projections.participants(other_id)) == [participant(other_id)]
