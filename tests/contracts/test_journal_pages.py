"""`Journal.events_after` with a limit: pages of a log, over every backend."""

import pytest

from coordinator.ports.journal import Journal
from tests.contracts.making import chain, new_session_id


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_pages_of_any_size_are_the_whole_log(journal: Journal, limit: int) -> None:
    session_id = new_session_id()
    for item in chain(session_id, [2, 3, 1, 4, 2]):
        await journal.append([item])
    whole = await journal.events_after(session_id, 0)
    assert [sealed.event.seq for sealed in whole] == list(range(1, 13))
    for after in range(13):
        assert list(await journal.events_after(session_id, after, limit)) == list(whole[after : after + limit])
