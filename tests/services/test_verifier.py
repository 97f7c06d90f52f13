"""Proof over what is stored: tampering is found and named; documents are repaired, the journal never is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit, SealedEvent
from coordinator.domain.model import Participant, Session, SessionStatus
from coordinator.services.verifier import Verdict
from tests.domain.story import ANNA, BEN, CLEO, END_IT, consent, join, media, record
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    """A session of some commits, whose documents have followed."""
    session = await world.open_session(node, [ANNA, BEN])
    for command in (join(ANNA), join(BEN), consent(ANNA, "2030-01"), record(), media(BEN, mic=True)):
        await node.do(session, command)
    await world.clock.advance(1)
    return session


async def verdict(world: World, session: SessionId, *, repair: bool = False) -> Verdict:
    verifying = asyncio.ensure_future(world.verifier.verify(session, repair=repair))
    await world.clock.advance(1)
    return await soon(verifying)


async def stored(world: World, session: SessionId) -> Sequence[Mapping[str, Any]]:
    return await world.journal.stored(session)


async def test_what_was_written_is_sound(world: World, session: SessionId) -> None:
    found = await verdict(world, session)
    assert found == Verdict(session_id=session, commits=6, events=6, flaws=[])


async def test_every_session_of_the_journal_is_verified(world: World, node: Node, session: SessionId) -> None:
    other = await world.open_session(node, [CLEO])
    await world.clock.advance(1)
    verdicts = [found async for found in world.verifier.verify_all(repair=False)]
    assert {found.session_id for found in verdicts} == {session, other}
    assert [found.flaws for found in verdicts] == [[], []]


def altered_event(commit: Commit) -> Commit:
    json = commit.events[0].json.replace(b"2030-01", b"2029-01")
    assert json != commit.events[0].json
    return replace(commit, events=(SealedEvent(commit.events[0].event, json),))


TAMPERING: dict[str, Callable[[dict[int, Commit]], Any]] = {
    "altered": lambda commits: commits.update({4: altered_event(commits[4])}),
    "left out": lambda commits: commits.pop(3),
    "swapped": lambda commits: commits.update({2: commits[3], 3: commits[2]}),
    "other time": lambda commits: commits.update({2: replace(commits[2], at=commits[1].at.replace(year=2029))}),
    "other hash": lambda commits: commits.update({5: replace(commits[5], hash="f" * 64)}),
    "first gone": lambda commits: commits.pop(1),
}


@pytest.mark.parametrize("kind", TAMPERING)
async def test_tampering_with_the_journal_is_found_and_not_undone(world: World, session: SessionId, kind: str) -> None:
    documents = await world.documents(session)
    TAMPERING[kind](world.journal._sessions[session])
    tampered = await stored(world, session)
    for repair in (False, True):
        found = await verdict(world, session, repair=repair)
        assert found.flaws
        assert all(flaw.session_id == session for flaw in found.flaws)
        assert not found.repaired
    assert await stored(world, session) == tampered
    assert await world.documents(session) == documents, "documents are not made after a journal that nobody can trust"


async def damage(
    world: World,
    session: SessionId,
    change: Callable[[Session, list[Participant]], tuple[Session, list[Participant]]],
) -> None:
    documents = await world.documents(session)
    await world.projections.rebuild(*change(documents.session, documents.participants))


DAMAGE: dict[str, Callable[[Session, list[Participant]], tuple[Session, list[Participant]]]] = {
    "session altered": lambda session, people: (replace(session, status=SessionStatus.ENDED), people),
    "session behind": lambda session, people: (replace(session, seq=session.seq - 1), people),
    "participant altered": lambda session, people: (session, [replace(people[0], recording_consent=False), people[1]]),
    "participant missing": lambda session, people: (session, people[:1]),
    "participant invented": lambda session, people: (session, [*people, replace(people[0], user_id=CLEO)]),
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_damaged_documents_are_found_and_rebuilt(world: World, session: SessionId, kind: str) -> None:
    journal = await stored(world, session)
    await damage(world, session, DAMAGE[kind])
    found = await verdict(world, session)
    assert (len(found.flaws), found.repaired) == (1, False)
    assert await world.documents(session) != await world.expected_documents(session)

    repaired = await verdict(world, session, repair=True)
    assert (repaired.flaws, repaired.repaired) == (found.flaws, True)
    assert await world.documents(session) == await world.expected_documents(session)
    assert await stored(world, session) == journal
    assert (await verdict(world, session, repair=True)).flaws == []


async def test_a_missing_document_is_found_and_made(world: World, session: SessionId) -> None:
    del world.projections._sessions[session]
    assert "missing" in (await verdict(world, session)).flaws[0].problem
    assert (await verdict(world, session, repair=True)).repaired
    assert (await verdict(world, session)).flaws == []


async def test_documents_that_are_only_a_little_behind_are_no_flaw(
    world: World, node: Node, session: SessionId
) -> None:
    await node.do(session, media(ANNA, camera=True))
    assert (await world.documents(session)).session.seq == 6
    assert (await verdict(world, session)).flaws == []


async def test_verifying_beside_a_running_session_finds_nothing_wrong(
    world: World, node: Node, session: SessionId
) -> None:
    for turn in range(10):
        verifying = asyncio.ensure_future(world.verifier.verify(session, repair=True))
        await node.do(session, media(ANNA, camera=turn % 2 == 0), media(BEN, camera=turn % 2 == 0))
        await world.clock.advance(1)
        found = await soon(verifying)
        assert (found.flaws, found.repaired) == ([], False)
    await node.do(session, END_IT)
    await world.clock.advance(1)
    assert await world.documents(session) == await world.expected_documents(session)


async def test_a_session_that_the_journal_does_not_know(world: World) -> None:
    found = await verdict(world, SessionId("e" * 24), repair=True)
    assert [flaw.problem for flaw in found.flaws] == ["the journal holds no event of this session"]
    assert not found.repaired


async def cut_off(world: World, session: SessionId, seq: int) -> None:
    """Take the commits away that begin after a `seq`."""
    commits = world.journal._sessions[session]
    for newer in [place for place in commits if place > seq]:
        del commits[newer]


@pytest.mark.parametrize("left", [5, 3, 1, 0])
async def test_newest_commits_that_are_gone_are_betrayed_by_documents_which_stay(
    world: World, session: SessionId, left: int
) -> None:
    documents = await world.documents(session)
    await cut_off(world, session, left)
    for repair in (False, True):
        found = await verdict(world, session, repair=repair)
        (flaw,) = found.flaws
        assert flaw.problem == f"the journal ends at seq {left}, but the session document has seen 6"
        assert (flaw.seq, found.repaired) == (left + 1, False)
    assert await world.documents(session) == documents


async def test_a_log_that_is_gone_as_a_whole_is_found_through_its_documents(world: World, session: SessionId) -> None:
    del world.journal._sessions[session]
    verifying = asyncio.ensure_future(every_verdict(world))
    await world.clock.advance(1)
    (found,) = await soon(verifying)
    assert [flaw.seq for flaw in found.flaws] == [1]
    await world.projections.discard(session)
    assert await every_verdict(world) == [], "of what is gone altogether nothing can be said"


async def every_verdict(world: World) -> list[Verdict]:
    return [found async for found in world.verifier.verify_all(repair=True)]


async def test_documents_that_cannot_be_read_are_named_and_made_anew(world: World, session: SessionId) -> None:
    world.projections.defects[session] = ValueError("level: no such level")
    found = await verdict(world, session)
    assert [flaw.problem for flaw in found.flaws] == ["the session document cannot be read: level: no such level"]
    del world.projections.defects[session]
    assert (await verdict(world, session)).flaws == []


async def test_a_repair_beside_a_running_session_ends_with_the_newest_documents(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node writes while its session is repaired is newer, and must not be lost to the repair."""
    genuine = world.projections.rebuild
    rebuilds = 0

    async def rebuild(document: Session, participants: Sequence[Participant]) -> None:
        nonlocal rebuilds
        rebuilds += 1
        if rebuilds < 3:
            await node.do(session, media(ANNA, camera=rebuilds == 1))
            await node.projector.flush()
        await genuine(document, participants)

    await damage(world, session, DAMAGE["participant altered"])
    monkeypatch.setattr(world.projections, "rebuild", rebuild)
    assert (await verdict(world, session, repair=True)).repaired
    assert rebuilds == 3
    assert await world.documents(session) == await world.expected_documents(session)


async def test_a_repair_that_never_holds_is_not_said_to(
    world: World, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rebuild(_document: Session, _participants: Sequence[Participant]) -> None:
        """Do nothing, as if somebody undid it each time."""

    await damage(world, session, DAMAGE["session altered"])
    monkeypatch.setattr(world.projections, "rebuild", rebuild)
    found = await verdict(world, session, repair=True)
    assert found.flaws
    assert not found.repaired
