"""The port `Consumers`, sentence by sentence, over every backend."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.consumers import Consumer, Consumers
from tests.contracts.making import MOMENT, NOON, OTHER_OWNER, OWNER, consumer, new_session_id

LATER = NOON + MOMENT
ONE, TWO, THREE = (SessionId(digit * 24) for digit in "123")
MARKS = {ONE: 3, TWO: 1}


async def advance(
    consumers: Consumers,
    marks: Mapping[SessionId, int],
    *,
    name: str = "recorder",
    owner: ConnectionId = OWNER,
    **more: Any,
) -> bool:
    arguments = {"cursor": "s.next", "up_to": LATER, "is_caught_up": False, **more}
    return await consumers.advance(name, owner, marks=marks, **arguments)


async def test_nobody_is_known_at_first(consumers: Consumers) -> None:
    assert await consumers.claim("recorder", OWNER) is None
    assert list(await consumers.all()) == []
    assert await consumers.owners(["recorder"]) == {}
    assert await consumers.marks("recorder") == {}
    assert await consumers.marks("recorder", [ONE]) == {}
    assert await advance(consumers, MARKS) is False
    assert await consumers.forget("recorder") is False
    await consumers.forget_sessions({ONE})
    await consumers.forget_sessions(set())
    assert await consumers.claim("recorder", OWNER) is None
    assert await consumers.marks("recorder") == {}


@pytest.mark.parametrize("scope", [None, (), (ONE, THREE)])
@pytest.mark.parametrize("is_exact", [True, False])
async def test_a_consumer_is_kept_as_it_began(
    consumers: Consumers, scope: tuple[SessionId, ...] | None, is_exact: bool
) -> None:
    begun = consumer(scope=scope, is_exact=is_exact)
    assert await consumers.begin(begun) is True
    assert list(await consumers.all()) == [begun]
    assert await consumers.claim("recorder", OTHER_OWNER) == replace(begun, owner=OTHER_OWNER)
    assert list(await consumers.all()) == [replace(begun, owner=OTHER_OWNER)]


@pytest.mark.parametrize("before", [None, (ONE,)])
@pytest.mark.parametrize("after", [None, (), (TWO,)])
async def test_beginning_again_writes_all_of_it(
    consumers: Consumers, before: tuple[SessionId, ...] | None, after: tuple[SessionId, ...] | None
) -> None:
    await consumers.begin(consumer(scope=before))
    again = consumer(cursor="s.other", is_exact=False, scope=after, up_to=LATER)
    assert await consumers.begin(again) is True
    assert list(await consumers.all()) == [again]
    assert await consumers.begin(consumer(scope=before)) is True
    assert list(await consumers.all()) == [consumer(scope=before)]


async def test_whoever_does_not_own_a_known_consumer_does_not_begin_it(consumers: Consumers) -> None:
    """Of two who claim, the later has it, also if the earlier is so slow that its `begin` comes last."""
    begun = consumer(owner=OTHER_OWNER, scope=(ONE,))
    late = consumer(cursor="s.late", is_exact=False, up_to=LATER)
    assert await consumers.begin(begun) is True
    assert await advance(consumers, MARKS, owner=OTHER_OWNER) is True
    (before,) = await consumers.all()
    assert await consumers.begin(late) is False
    assert await consumers.claim("recorder", OWNER) is not None
    assert await consumers.claim("recorder", OTHER_OWNER) is not None
    assert await consumers.begin(late) is False
    assert list(await consumers.all()) == [before]
    assert await consumers.marks("recorder") == MARKS
    assert await advance(consumers, {ONE: 4}, owner=OTHER_OWNER) is True
    assert await consumers.marks("recorder") == MARKS | {ONE: 4}


async def test_a_consumer_that_was_forgotten_after_a_claim_begins(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    await consumers.claim("recorder", OTHER_OWNER)
    await consumers.forget("recorder")
    begun = consumer(owner=OTHER_OWNER)
    assert await consumers.begin(begun) is True
    assert list(await consumers.all()) == [begun]


async def test_consumers_are_told_by_name(consumers: Consumers) -> None:
    names = ["b", "recorder", "a", "B", "a-b", "a.b", "_", "0"]
    for name in names:
        await consumers.begin(consumer(name))
    assert [item.name for item in await consumers.all()] == sorted(names)


async def test_the_newest_owner_owns(consumers: Consumers) -> None:
    await consumers.begin(consumer("a"))
    await consumers.begin(consumer("b", owner=OTHER_OWNER))
    assert await consumers.owners(["a", "b", "nobody"]) == {"a": OWNER, "b": OTHER_OWNER}
    assert await consumers.owners(["b"]) == {"b": OTHER_OWNER}
    assert await consumers.owners([]) == {}
    claimed = await consumers.claim("a", OTHER_OWNER)
    assert claimed is not None
    assert claimed.owner == OTHER_OWNER
    assert await consumers.owners(["a"]) == {"a": OTHER_OWNER}
    assert await advance(consumers, {}, name="a", owner=OWNER) is False
    assert await advance(consumers, {}, name="a", owner=OTHER_OWNER) is True


async def test_of_many_who_claim_at_once_one_owns(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    claimants = [ConnectionId(f"node-{number}") for number in range(20)]
    claimed = await asyncio.gather(*(consumers.claim("recorder", owner) for owner in claimants))
    assert [item.owner for item in claimed if item is not None] == claimants, "nobody passes as another"
    advanced = await asyncio.gather(*(advance(consumers, {}, owner=owner) for owner in claimants))
    owners = await consumers.owners(["recorder"])
    assert [owner for owner, did in zip(claimants, advanced, strict=True) if did] == [owners["recorder"]]


async def test_advancing_moves_cursor_time_and_marks(consumers: Consumers) -> None:
    begun = consumer(scope=(ONE, TWO))
    await consumers.begin(begun)
    assert await advance(consumers, MARKS) is True
    assert list(await consumers.all()) == [replace(begun, cursor="s.next", up_to=LATER)]
    assert await consumers.marks("recorder") == MARKS
    assert await advance(consumers, {TWO: 4, THREE: 1}, cursor="s.last") is True
    assert await consumers.marks("recorder") == {ONE: 3, TWO: 4, THREE: 1}
    claimed = await consumers.claim("recorder", OWNER)
    assert claimed is not None
    assert claimed.cursor == "s.last"


async def test_advancing_without_marks_moves_the_cursor(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    assert await advance(consumers, {}) is True
    assert [item.cursor for item in await consumers.all()] == ["s.next"]


async def test_who_has_caught_up_has_no_scope(consumers: Consumers) -> None:
    await consumers.begin(consumer("a", scope=(ONE,)))
    await consumers.begin(consumer("b", scope=None))
    for name in ("a", "b"):
        assert await advance(consumers, {}, name=name, is_caught_up=True) is True
    assert [item.scope for item in await consumers.all()] == [None, None]


async def test_whoever_does_not_own_it_moves_nothing(consumers: Consumers) -> None:
    begun = consumer(scope=(ONE,))
    await consumers.begin(begun)
    assert await advance(consumers, MARKS, owner=OTHER_OWNER, is_caught_up=True) is False
    assert await advance(consumers, MARKS, name="another") is False
    assert list(await consumers.all()) == [begun]
    assert await consumers.marks("recorder") == {}


async def test_a_late_or_repeated_advance_takes_no_mark_back(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    await advance(consumers, {ONE: 5, TWO: 5})
    for marks in ({ONE: 5}, {ONE: 4, TWO: 6}):
        assert await advance(consumers, marks) is True
    assert await consumers.marks("recorder") == {ONE: 5, TWO: 6}


async def test_advances_at_once_keep_the_highest_marks(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    sessions = [new_session_id() for _ in range(10)]
    steps = [dict.fromkeys(sessions, number) for number in range(1, 9)]
    assert all(await asyncio.gather(*(advance(consumers, marks) for marks in steps)))
    assert await consumers.marks("recorder") == dict.fromkeys(sessions, 8)


async def test_marks_can_be_asked_for_by_session(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    sessions = [new_session_id() for _ in range(300)]
    marks = {session_id: number for number, session_id in enumerate(sessions)}
    await advance(consumers, marks)
    assert await consumers.marks("recorder") == marks
    some = sessions[10:270:3]
    assert await consumers.marks("recorder", [*some, ONE]) == {session_id: marks[session_id] for session_id in some}
    assert await consumers.marks("recorder", []) == {}
    assert await consumers.marks("another", some) == {}


async def test_marks_of_very_many_sessions_stay_however_they_come(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    sessions = [new_session_id() for _ in range(700)]
    assert await advance(consumers, dict.fromkeys(sessions[:400], 1))
    for first in range(350, 700, 50):
        assert await advance(consumers, dict.fromkeys(sessions[first : first + 50], 2))
    assert await consumers.marks("recorder") == dict.fromkeys(sessions[:350], 1) | dict.fromkeys(sessions[350:], 2)
    await consumers.forget_sessions({sessions[0], sessions[-1]})
    assert await consumers.marks("recorder", [sessions[0], sessions[1], sessions[-2], sessions[-1]]) == {
        sessions[1]: 1,
        sessions[-2]: 2,
    }
    await consumers.begin(consumer())
    assert await consumers.marks("recorder") == {}


async def test_each_consumer_has_its_own_marks(consumers: Consumers) -> None:
    for name, marks in (("a", {ONE: 1}), ("b", {ONE: 2, TWO: 2})):
        await consumers.begin(consumer(name))
        await advance(consumers, marks, name=name)
    assert await consumers.marks("a") == {ONE: 1}
    await consumers.begin(consumer("a"))
    assert await consumers.marks("a") == {}
    assert await consumers.marks("b") == {ONE: 2, TWO: 2}


async def test_a_beginning_takes_the_marks_away(consumers: Consumers) -> None:
    await consumers.begin(consumer())
    await advance(consumers, MARKS)
    assert await consumers.marks("recorder") == MARKS
    await consumers.begin(consumer(is_exact=False))
    assert await consumers.marks("recorder") == {}
    assert await consumers.marks("recorder", [ONE]) == {}
    await advance(consumers, {ONE: 1})
    assert await consumers.marks("recorder") == {ONE: 1}  # lower than before it began again


async def test_what_is_forgotten_is_not_known_and_has_no_marks(consumers: Consumers) -> None:
    for name in ("a", "b"):
        await consumers.begin(consumer(name))
        await advance(consumers, MARKS, name=name)
    assert await consumers.forget("a") is True
    assert await consumers.forget("a") is False
    assert [item.name for item in await consumers.all()] == ["b"]
    assert await consumers.claim("a", OWNER) is None
    assert await advance(consumers, MARKS, name="a") is False
    assert await consumers.marks("a") == {}
    await consumers.begin(consumer("a"))
    assert await consumers.marks("a") == {}
    assert await consumers.marks("b") == MARKS


async def test_marks_of_sessions_that_are_gone_are_taken_from_everyone(consumers: Consumers) -> None:
    for name in ("a", "b"):
        await consumers.begin(consumer(name))
        await advance(consumers, {ONE: 1, TWO: 2, THREE: 3}, name=name)
    await consumers.forget_sessions({ONE, THREE, new_session_id()})
    for name in ("a", "b"):
        assert await consumers.marks(name) == {TWO: 2}


async def test_beginning_at_once_leaves_one_of_them(consumers: Consumers) -> None:
    begun = [consumer(owner=ConnectionId(f"node-{number}"), cursor=f"s.{number}") for number in range(20)]
    did = await asyncio.gather(*(consumers.begin(item) for item in begun))
    (kept,) = await consumers.all()
    assert [item for item, done in zip(begun, did, strict=True) if done] == [kept]
    assert await advance(consumers, MARKS, owner=kept.owner) is True
    assert await consumers.marks("recorder") == MARKS


async def test_a_slow_advance_of_an_earlier_owner_brings_no_marks_back(consumers: Consumers) -> None:
    async def take_over(again: Consumer) -> bool:
        await consumers.claim("recorder", OTHER_OWNER)
        return await consumers.begin(again)

    for number in range(20):
        await consumers.claim("recorder", OWNER)
        assert await consumers.begin(consumer()) is True
        again = consumer(owner=OTHER_OWNER, cursor=f"c.{number}")
        _, did = await asyncio.gather(advance(consumers, MARKS), take_over(again))
        assert did
        assert await consumers.marks("recorder") == {}
        assert list(await consumers.all()) == [again]
