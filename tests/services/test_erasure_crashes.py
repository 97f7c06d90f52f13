"""Whatever dies or goes unanswered between any two steps of an erasure: whoever repeats it finishes it.

Told once as it should go, and then again with each of its calls to the stores going wrong.
"""

import asyncio
import json
from typing import Any

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.ports.journal import OutcomeUnknownError
from tests.domain.story import ANNA
from tests.services.erasures import Eraser, Past, a_past, assert_proved, erase, everything
from tests.services.faults import Mishap
from tests.services.harness import World, soon


async def cut_short(eraser: Eraser, at: int, mishap: Mishap) -> bool:
    """Let the call number `at` go wrong; tell whether the erasure came to its end all the same."""
    eraser.course.begin(at, mishap)
    task = asyncio.ensure_future(eraser.erasure.erase(ANNA))
    death = asyncio.ensure_future(eraser.course.died.wait())
    await soon(asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED))
    task.cancel()
    death.cancel()
    outcome: object = (await asyncio.gather(task, death, return_exceptions=True))[0]
    if isinstance(outcome, Exception) and not isinstance(outcome, OutcomeUnknownError | UnavailableError):
        raise outcome
    return not isinstance(outcome, BaseException)


def comparable(stored: dict[str, Any]) -> dict[str, Any]:
    """What is stored, without what is random: the pseudonym of the registrations, the id of the last commit."""
    registrations = [
        {**item, "userId": "erased" if item["userId"].startswith("erased-") else item["userId"]}
        for item in stored["registrations"]
    ]
    logs = {session: [commit["events"] for commit in log] for session, log in stored["journal"].items()}
    return {**stored, "registrations": registrations, "journal": logs}


async def tell(world: World, at: int, mishap: Mishap) -> tuple[dict[str, Any], list[str], Past]:
    """Erase Anna with one call going wrong, and again until it is done; return what is stored then, and the calls."""
    past = await a_past(world, world.node("a0"))
    eraser = Eraser(world, world.node("b0"))
    is_done = await cut_short(eraser, at, mishap)
    await assert_proved(world, past.sessions)
    for session in past.sessions:
        assert await world.state(session) is not None, "everybody can still read it"
    if not is_done:
        assert (await erase(world, world.node("c0"))).left == ()
    await world.clock.advance(1)
    for session in past.sessions:
        assert (await soon(world.verifier.verify(session, repair=False))).flaws == []
    stored = await everything(world, past.sessions)
    await world.close()
    assert ANNA not in json.dumps(stored, default=str)
    return comparable(stored), eraser.course.calls, past


@pytest.mark.parametrize("mishap", list(Mishap))
async def test_an_erasure_that_is_cut_short_is_finished_by_the_next(world: World, mishap: Mishap) -> None:
    expected, calls, _ = await tell(World(world.logs), 0, mishap)
    assert set(calls) >= {"append", "replace", "rebuild", "rename", "cancel", "record_attendance"}
    assert calls.count("replace") == 6
    for at in range(1, len(calls) + 1):
        stored, _, _ = await tell(World(world.logs), at, mishap)
        assert stored == expected, f"call {at} of {len(calls)}: {calls[at - 1]}"


async def test_documents_are_all_that_can_be_behind_in_between(world: World) -> None:
    _, calls, _ = await tell(World(world.logs), 0, Mishap.DEATH_AFTER)
    said, documented = calls.index("append") + 1, calls.index("rebuild") + 1
    for at in range(1, len(calls) + 1):
        there = World(world.logs)
        past = await a_past(there, there.node("a0"))
        await cut_short(Eraser(there, there.node("b0")), at, Mishap.DEATH_AFTER)
        verifying = asyncio.ensure_future(there.verifier.verify(past.attended, repair=False))
        await there.clock.advance(1)
        problems = [flaw.problem for flaw in (await soon(verifying)).flaws]
        assert bool(problems) is (said <= at < documented), f"call {at}: {problems}"
        assert all("document" in problem for problem in problems)
        await there.close()
