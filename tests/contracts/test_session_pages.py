"""`Projections.page` over every backend: each session that is looked for once, the newest first."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Language, Session, SessionStatus
from coordinator.ports.projections import Projections, SessionQuery
from tests.contracts.making import MOMENT, NOON, new_slot_id, session

SLOT = SlotId("510751075107510751075101")
NOW = datetime.now(UTC).replace(microsecond=0)
AGES = [
    NOON - NOW,  # a clock that is years ahead
    timedelta(hours=1),
    *[-MOMENT] * 2,
    *[-timedelta(minutes=5)] * 7,  # more than a page
    -timedelta(minutes=5) - MOMENT,
    *(-timedelta(hours=hours) for hours in range(1, 9)),
    *(-timedelta(days=days) for days in (1, 2, 2, 2, 7, 8, 20, 29)),
]
"""By how much each session was opened after now, the newest first. MongoDB forgets what is older than 30 days."""
FILTERS: list[dict[str, Any]] = [
    {},
    *({"status": status} for status in SessionStatus),
    {"target_language_code": Language.FRENCH},
    {"slot_id": SLOT},
    *({"status": status, "target_language_code": Language.SPANISH} for status in SessionStatus),
    {"status": SessionStatus.ENDED, "slot_id": SLOT},
    {"target_language_code": Language.FRENCH, "slot_id": SLOT},
]


def open_some() -> list[Session]:
    """Sessions in order, of which each filter finds some."""
    dice = random.Random(3)
    ids = sorted((session().id for _ in AGES), reverse=True)
    return [
        session(
            session_id,
            created_at=NOW + age,
            status=dice.choice(list(SessionStatus)),
            target_language_code=dice.choice([Language.FRENCH, Language.SPANISH]),
            time_slot_id=SLOT if dice.random() < 0.5 else new_slot_id(),
        )
        for session_id, age in zip(ids, AGES, strict=True)
    ]


async def stored(projections: Projections, sessions: list[Session]) -> None:
    await projections.write(random.Random(4).sample(sessions, len(sessions)), [])


def matches(item: Session, filters: dict[str, Any]) -> bool:
    fields = {"slot_id": "time_slot_id"}
    return all(getattr(item, fields.get(name, name)) == value for name, value in filters.items())


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_pages_hold_each_session_once_the_newest_first(projections: Projections, filters: dict[str, Any]) -> None:
    sessions = open_some()
    await stored(projections, sessions)
    wanted = [item for item in sessions if matches(item, filters)]
    assert len(wanted) > 2
    for limit in (2, 5, 100):
        found: list[Session] = []
        query = SessionQuery(limit=limit, **filters)
        while page := await projections.page(query):
            assert len(page) <= limit
            found += page
            query = replace(query, after=(page[-1].created_at, page[-1].id))
        assert found == wanted


async def test_a_page_goes_on_after_any_session(projections: Projections) -> None:
    sessions = open_some()
    await stored(projections, sessions)
    for number, item in enumerate(sessions):
        found = await projections.page(SessionQuery(after=(item.created_at, item.id), limit=2))
        assert list(found) == sessions[number + 1 : number + 3]


async def test_a_cursor_need_not_be_that_of_a_session(projections: Projections) -> None:
    sessions = sorted((session(created_at=NOW) for _ in range(3)), key=lambda item: item.id, reverse=True)
    await stored(projections, sessions)

    async def after(created_at: datetime, session_id: str) -> list[Session]:
        return list(await projections.page(SessionQuery(after=(created_at, SessionId(session_id)))))

    assert await after(NOW, "f" * 24) == sessions
    assert await after(NOW, "0" * 24) == []
    assert await after(NOW + MOMENT, "0" * 24) == sessions
    assert await after(NOW - MOMENT, "f" * 24) == []
    assert await after(datetime.max.replace(tzinfo=UTC), "0" * 24) == sessions
    assert await after(datetime(1, 1, 1, tzinfo=UTC), "f" * 24) == []


async def test_no_sessions_make_an_empty_page(projections: Projections) -> None:
    assert list(await projections.page(SessionQuery())) == []
    await stored(projections, [session(created_at=NOW)])
    for query in (
        SessionQuery(status=SessionStatus.ENDED),
        SessionQuery(status=SessionStatus.ACTIVE),
        SessionQuery(target_language_code=Language.ENGLISH),
        SessionQuery(slot_id=new_slot_id()),
    ):
        assert list(await projections.page(query)) == []


async def test_a_page_has_fifty_unless_it_is_asked_for_more(projections: Projections) -> None:
    sessions = [session(created_at=NOW - number * timedelta(hours=1)) for number in range(60)]
    await stored(projections, sessions)
    assert list(await projections.page(SessionQuery())) == sessions[:50]
    assert list(await projections.page(SessionQuery(limit=55))) == sessions[:55]


async def test_a_session_is_found_as_it_was_written_last(projections: Projections) -> None:
    waiting = session(created_at=NOW)
    active = replace(waiting, status=SessionStatus.ACTIVE, seq=2)
    await projections.write([waiting], [])
    await projections.write([active], [])
    assert list(await projections.page(SessionQuery())) == [active]
    assert list(await projections.page(SessionQuery(status=SessionStatus.WAITING))) == []
    assert list(await projections.page(SessionQuery(status=SessionStatus.ACTIVE))) == [active]
