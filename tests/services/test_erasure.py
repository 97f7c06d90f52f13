"""Erasing a user, beside running coordinators: what is gone, what stays, what is refused, what others hear."""

import json

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import GENESIS, SealedEvent, seal
from coordinator.domain.model import SESSION_KEPT
from coordinator.domain.pseudonyms import is_pseudonym
from coordinator.services.erasure import Erased
from tests.domain.story import ANNA, BEN, CLEO, END, END_IT, MODERATOR, RECORDER, join, minutes, record
from tests.services.erasures import SPOKEN, Eraser, a_past, assert_proved, erase, everything, recording_of
from tests.services.harness import Node, World, soon


async def salts_of(world: World, session: SessionId, user: UserId) -> list[str]:
    events = [event for commit in await world.journal.stored(session) for event in commit["events"]]
    return [event["salt"] for event in events if event["actor"]["userId"] == user and "salt" in event]


async def test_nothing_that_is_stored_names_an_erased_user(world: World, node: Node) -> None:
    past = await a_past(world, node)
    salts = [salt for session in past.sessions for salt in await salts_of(world, session, ANNA)]
    assert len(salts) == 3, "joining, recording and ending"
    before = json.dumps(await everything(world, past.sessions), default=str)
    for secret in (ANNA, SPOKEN, *salts):
        assert secret in before
    erased = await erase(world, node)
    assert erased == Erased(sessions=2, commits=6, cancelled=1, registrations=4, left=())
    after = json.dumps(await everything(world, past.sessions), default=str)
    for secret in (ANNA, SPOKEN, *salts):
        assert secret not in after
    await assert_proved(world, past.sessions)
    for session in past.sessions:
        assert (await soon(world.verifier.verify(session, repair=False))).flaws == []


async def test_what_does_not_name_the_user_stays_to_the_byte(world: World, node: Node) -> None:
    past = await a_past(world, node)
    before = await everything(world, past.sessions)
    await erase(world, node)
    after = await everything(world, past.sessions)
    assert after["journal"][past.other] == before["journal"][past.other]
    hashes = [[commit["hash"] for commit in log["journal"][past.attended]] for log in (before, after)]
    assert hashes[1][:-1] == hashes[0]
    for name in ("registrations", "sessions"):
        others = [[item for item in every[name] if "anna" not in str(item)] for every in (before, after)]
        assert all(item in others[1] for item in others[0])
    (erased,) = after["journal"][past.attended][-1]["events"]
    assert (erased["type"], erased["actor"]["userId"]) == ("user_erased", "system")
    assert is_pseudonym(erased["data"]["userId"])


async def test_the_seats_of_coming_slots_are_free_again(world: World, node: Node) -> None:
    past = await a_past(world, node)
    assert (await world.found(past.coming)).registered_count == 2
    await erase(world, node)
    assert (await world.found(past.coming)).registered_count == 1
    statuses = await world.statuses(past.coming)
    assert statuses.pop(BEN) == "registered"
    ((pseudonym, status),) = statuses.items()
    assert (is_pseudonym(pseudonym), status) == (True, "cancelled")


async def test_attendance_is_known_of_whoever_is_erased_before_it_was_settled(world: World, node: Node) -> None:
    slot = await world.slot([ANNA, BEN, CLEO])
    await soon(node.openings.open_due())
    session = await world.session_of(slot)
    assert session is not None
    await node.joined(session, ANNA, BEN)
    await world.at(minutes(1))
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    await node.crash()
    world.bookings.is_attendance_cut = False
    assert set((await world.statuses(slot)).values()) == {"registered"}
    after = world.node("b0")
    await erase(world, after)
    await soon(after.take_up())
    statuses = await world.statuses(slot)
    assert (statuses.pop(BEN), statuses.pop(CLEO), *statuses.values()) == ("attended", "noshow", "attended")


async def test_a_user_with_a_part_in_a_live_session_is_not_erased(world: World, node: Node) -> None:
    past = await a_past(world, node)
    live = await world.open_session(node, [ANNA, BEN])
    await node.joined(live, ANNA)
    before = await everything(world, [*past.sessions, live])
    with pytest.raises(InvalidRequestError, match=f"is not over yet: session {live};"):
        await erase(world, node)
    assert await everything(world, [*past.sessions, live]) == before


async def test_a_moderator_of_a_live_session_is_not_erased(world: World, node: Node) -> None:
    live = await world.open_session(node, [ANNA, BEN])
    await node.do(live, record())
    with pytest.raises(InvalidRequestError, match=live):
        await erase(world, node, MODERATOR.user_id)


async def test_being_registered_for_a_live_session_is_no_part_in_it(world: World, node: Node) -> None:
    live = await world.open_session(node, [ANNA, BEN])
    await node.joined(live, BEN)
    assert (await erase(world, node)).cancelled == 1
    assert (await world.kinds(live))[-1] == "participant_joined"


async def test_of_a_user_whom_nobody_knows_there_is_nothing(world: World, node: Node) -> None:
    past = await a_past(world, node)
    before = await everything(world, past.sessions)
    erased = await erase(world, node, UserId("nobody"))
    assert erased == Erased(sessions=0, commits=0, cancelled=0, registrations=0, left=())
    assert erased.is_nothing
    assert await everything(world, past.sessions) == before


async def test_erasing_again_finds_nothing(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await erase(world, node)
    before = await everything(world, past.sessions)
    assert (await erase(world, node)).is_nothing
    assert await everything(world, past.sessions) == before


async def test_a_pseudonym_is_not_erased(world: World, node: Node) -> None:
    with pytest.raises(InvalidRequestError, match="already stands for"):
        await erase(world, node, UserId("erased-" + "0" * 32))


async def test_a_node_that_has_the_session_in_memory_goes_on_under_the_pseudonym(world: World, node: Node) -> None:
    past = await a_past(world, node)
    room = await node.room(past.attended)
    with room.in_use():
        await erase(world, world.node("b0"))
        await soon(node.rooms.refresh(room))
        assert room.state == await world.state(past.attended)
        assert room.state is not None
        assert ANNA not in room.state.participants
        assert room.recent_after(1) is None, "what this node remembers of earlier names her"
        assert list(await soon(node.reader.events(past.attended, 0, 100))) == [
            sealed for commit in await world.journal.read(past.attended) for sealed in commit.events
        ]
    await world.clock.advance(1)
    assert (await soon(world.verifier.verify(past.attended, repair=False))).flaws == []


async def test_a_document_that_is_written_late_is_found_by_the_next_look(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await world.node("b0").room(past.attended)  # read, and its documents are to be written in a moment
    eraser = Eraser(world, node)
    erased = await soon(eraser.erasure.erase(ANNA))
    await world.clock.advance(1)
    assert ANNA in json.dumps(await everything(world, past.sessions), default=str)
    again = await soon(eraser.erasure.look_again(ANNA, erased))
    assert (again.sessions, again.left) == (erased.sessions + 1, ())
    assert ANNA not in json.dumps(await everything(world, past.sessions), default=str)
    assert (await soon(world.verifier.verify(past.attended, repair=False))).flaws == []
    assert (await erase(world, node)).is_nothing


async def test_a_document_that_was_written_late_is_found_by_the_next_erasure(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await world.node("b0").room(past.attended)
    await erase(world, node)
    await world.clock.advance(1)
    assert (await erase(world, node)).sessions == 1
    assert ANNA not in json.dumps(await everything(world, past.sessions), default=str)


async def test_a_document_without_a_journal_is_told(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await world.journal.discard(past.attended)
    erased = await erase(world, node)
    assert [(left.session_id, "its journal is gone" in left.reason) for left in erased.left] == [(past.attended, True)]


async def test_who_comes_back_while_being_erased_is_told_of(world: World, node: Node) -> None:
    past = await a_past(world, node)
    live = await world.open_session(node, [BEN])
    eraser = Eraser(world, node)

    async def come_back() -> None:
        slot = (await world.state(live)).time_slot_id
        await world.register(slot, ANNA)
        await node.joined(live, ANNA)
        await node.projector.flush()

    eraser.journal.before("append", come_back)
    erased = await soon(eraser.erasure.erase(ANNA))
    assert [(left.session_id, "repeat" in left.reason) for left in erased.left] == [(live, True)]
    assert ANNA not in json.dumps(await everything(world, past.sessions), default=str)


async def test_two_who_erase_at_the_same_time_meet(world: World, node: Node) -> None:
    past = await a_past(world, node)
    one, other = Eraser(world, node), Eraser(world, world.node("b0"))
    one.journal.before("append", lambda: other.erasure.erase(BEN))
    erased = await soon(one.erasure.erase(ANNA))
    assert (erased.sessions, erased.left) == (2, ())
    assert (await world.kinds(past.attended))[-2:] == ["user_erased", "user_erased"]
    stored = json.dumps(await everything(world, past.sessions), default=str)
    assert ANNA not in stored
    assert BEN not in stored


async def test_what_is_attached_meanwhile_is_in_the_documents(world: World, node: Node) -> None:
    past = await a_past(world, node)
    eraser = Eraser(world, node)

    async def attach() -> None:
        await node.recordings.attach(RECORDER, past.attended, recording_of(BEN))
        await node.projector.flush()

    eraser.projections.before("rebuild", attach)
    await soon(eraser.erasure.erase(ANNA))
    assert (await world.kinds(past.attended))[-2:] == ["user_erased", "recording_attached"]
    assert (await soon(world.verifier.verify(past.attended, repair=False))).flaws == []
    assert len((await world.documents(past.attended)).session.recordings) == 2


async def test_a_session_that_has_vanished_is_not_brought_back(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await node.crash()
    await world.clock.advance(SESSION_KEPT.total_seconds())
    del world.projections._sessions[past.attended]
    await erase(world, world.node("b0"))
    assert await world.projections.session(past.attended) is None
    users = {item.user_id for item in await world.projections.participants(past.attended)}
    assert (len(users), BEN in users, ANNA in users) == (2, True, False)


async def test_what_cannot_be_erased_is_told_and_stops_nothing_else(world: World, node: Node) -> None:
    past = await a_past(world, node)
    commits = world.journal._sessions[past.moderated]
    seq, damaged = next((seq, item) for seq, item in commits.items() if item.events[0].event.actor.user_id == ANNA)
    commits[seq] = replace(damaged, hash="0" * 64)
    erased = await erase(world, node)
    assert [(left.session_id, "does not match" in left.reason) for left in erased.left] == [(past.moderated, True)]
    assert ANNA not in json.dumps(await world.journal.stored(past.attended))


async def test_a_log_without_salts_keeps_its_names_and_its_proof(world: World, node: Node) -> None:
    past = await a_past(world, node)
    commits = world.journal._sessions[past.attended]
    prev_hash = GENESIS
    for seq, commit in sorted(commits.items()):
        events = [replace(sealed.event, salt=None) for sealed in commit.events]
        commits[seq] = seal(commit.id, events, prev_hash)
        prev_hash = commits[seq].hash
    before = await world.journal.stored(past.attended)
    for _ in range(2):
        erased = await erase(world, node)
        assert [left.session_id for left in erased.left] == [past.attended]
        assert "before users had salts" in erased.left[0].reason
    assert await world.journal.stored(past.attended) == before
    await assert_proved(world, past.sessions)


async def test_a_journal_that_cannot_be_read_is_told(world: World, node: Node) -> None:
    past = await a_past(world, node)

    async def unreadable(session_id: SessionId, after: int = 0) -> list[SealedEvent]:
        if session_id == past.other:
            raise ValueError("no commit")
        return await read(session_id, after)  # type: ignore[return-value]

    read = world.journal.read
    world.journal.read = unreadable  # type: ignore[method-assign,assignment]
    erased = await erase(world, node)
    assert [(left.session_id, left.reason) for left in erased.left] == [
        (past.other, "it cannot be read: no commit; see `coordinator verify`")
    ]
    assert ANNA not in json.dumps(await world.journal.stored(past.attended))


async def test_after_the_end_of_a_day_everything_runs_on(world: World, node: Node) -> None:
    past = await a_past(world, node)
    await erase(world, node)
    await world.at(END + minutes(60))
    live = await world.open_session(node, [BEN, CLEO], start=world.clock.now() + minutes(5))
    await node.do(live, join(BEN))
    await world.clock.advance(1)
    for session in [*past.sessions, live]:
        assert (await soon(world.verifier.verify(session, repair=False))).flaws == []
