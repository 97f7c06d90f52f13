"""The hooks of the memory journal, with which other tests make a store slow or unreliable."""

import asyncio

import pytest

from coordinator.adapters.memory.clock import settle
from coordinator.adapters.memory.ids import SequentialIds
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.domain.ids import is_object_id
from coordinator.ports.journal import OutcomeUnknownError
from tests.contracts.making import commit, new_session_id


@pytest.mark.parametrize("written", [True, False])
async def test_an_append_can_fail_after_or_without_writing(written: bool) -> None:
    journal, wanted = MemoryJournal(), commit(new_session_id())
    journal.fail_next(2, written=written)
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            await journal.append([wanted])
        assert await journal.written([wanted.id]) == ({wanted.id} if written else set())
    assert await journal.append([wanted]) == {wanted.id}
    assert list(await journal.read(wanted.session_id)) == [wanted]


async def test_failures_come_in_the_order_in_which_they_were_asked_for() -> None:
    journal, first, second = MemoryJournal(), commit(new_session_id()), commit(new_session_id())
    journal.fail_next(1, written=False)
    journal.fail_next(1, written=True)
    for item in (first, second):
        with pytest.raises(OutcomeUnknownError):
            await journal.append([item])
    assert await journal.written([first.id, second.id]) == {second.id}
    assert journal.appends == 2


async def test_a_closed_gate_holds_appends_up() -> None:
    journal, wanted = MemoryJournal(), commit(new_session_id())
    journal.gate = asyncio.Event()
    appending = asyncio.create_task(journal.append([wanted]))
    await settle()
    assert not appending.done()
    assert await journal.written([wanted.id]) == set()
    journal.gate.set()
    assert await appending == {wanted.id}


def test_sequential_ids_are_foretold_and_keep_nodes_apart() -> None:
    a, b = SequentialIds("a"), SequentialIds("b")
    assert SequentialIds().new_id() == "0" * 23 + "1"
    made = [ids.new_id() for ids in (a, b) for _ in range(20)]
    assert made[0] == "a" + "0" * 22 + "1"
    assert len(set(made)) == 40
    assert all(is_object_id(item) for item in made)
