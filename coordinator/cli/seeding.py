"""Demo data, offered over HTTP as a platform would: a slot that starts in one minute, users, two series.

Owns what the demo consists of and how it is told; must not know how requests are made, nor any database.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

import aiohttp
import msgspec

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.cli.api_client import ApiClient
from coordinator.cli.common import out, plain
from coordinator.domain.errors import CoordinatorError, OverlappingRegistrationError, UnauthenticatedError
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.domain.model import Language, Level, Recurrence, Registration, TimeSlot
from coordinator.domain.recurrence import instant_of, wall_clock

DEMO_USERS = ("ada", "bruno", "chloe", "diego")
_START_IN = timedelta(minutes=1)
_DURATION_MINUTES = 15
DEMO_TOKEN_SECONDS = 12 * 3600
_OFFER_AGAIN_SECONDS = 600
"""A slot lasts longer, so there is always one to go into."""
_ADMIN_TOKEN_SECONDS = 600
_QUARTER = timedelta(minutes=15)
_MOST_NAMESAKES = 30
"""More demo slots than this overlap only if somebody wants them to."""
_PATIENCE_POLLS = 50
_POLL_SECONDS = 0.2


class DemoSeries(NamedTuple):
    """A slot that repeats; `weekday` counts from Monday, 0, and is None for tomorrow's."""

    words: str
    target_language_code: Language
    level: Level
    recurrence: Recurrence
    timezone: str
    at: time
    weekday: int | None = None


_SERIES = (
    DemoSeries(
        "Spanish A2 every day at 18:00 in Paris",
        Language.SPANISH,
        Level.A2,
        Recurrence.DAILY,
        "Europe/Paris",
        time(18),
    ),
    DemoSeries(
        "English C1 every Saturday at 10:00 in London",
        Language.ENGLISH,
        Level.C1,
        Recurrence.WEEKLY,
        "Europe/London",
        time(10),
        weekday=5,
    ),
)


class DemoSlot(NamedTuple):
    """A slot that is there to be found and booked; it starts on the next quarter of an hour after `starts_in`."""

    target_language_code: Language
    level: Level
    starts_in: timedelta
    duration_minutes: int


_SLOTS = (
    DemoSlot(Language.ENGLISH, Level.A2, timedelta(minutes=20), 30),
    DemoSlot(Language.SPANISH, Level.B1, timedelta(hours=2), 45),
    DemoSlot(Language.FRENCH, Level.A1, timedelta(hours=5), 30),
    DemoSlot(Language.ENGLISH, Level.B2, timedelta(hours=26), 45),
)


class DemoOffer(NamedTuple):
    """What was offered: the slot, its session if one opened in time, and a token for each of its users."""

    slot: TimeSlot
    session_id: SessionId | None
    tokens: dict[str, str]
    moderator_token: str
    recorder_token: str


class _Page(msgspec.Struct):
    """A page of slots."""

    items: list[TimeSlot]


async def offer_demo(address: str, tokens: Hs256Tokens) -> DemoOffer:
    """Offer the demo to the coordinator at `address`, and wait a little for its session.

    Raises:
        CoordinatorError: It refused something.
        OSError: No coordinator answers there.
    """
    admin = tokens.issue(UserId("demo-admin"), Role.ADMIN, ttl_seconds=_ADMIN_TOKEN_SECONDS)
    now = datetime.now(UTC)
    async with aiohttp.ClientSession() as http:
        api = ApiClient(http, address)
        try:
            slot = await api.post("/time-slots", admin, TimeSlot, _terms(Language.FRENCH, Level.B1, now + _START_IN))
        except UnauthenticatedError as error:
            raise UnauthenticatedError(
                f"the coordinator at {address} does not accept tokens signed here: use its --data-dir, or its "
                f"COORDINATOR_AUTH__SECRET ({error.message})"
            ) from error
        users = [await _register(api, tokens, slot, user) for user in DEMO_USERS]
        for series in _SERIES:
            await _offer_series(api, admin, series, now)
        for wanted in _SLOTS:
            await _offer_slot(api, admin, wanted, now)
        session_id = await _session_of(api, admin, slot)
    return DemoOffer(
        slot,
        session_id,
        {user: _token(tokens, user) for user in users},
        tokens.issue(UserId("demo-moderator"), Role.MODERATOR, ttl_seconds=DEMO_TOKEN_SECONDS),
        tokens.issue(UserId("demo-recorder"), Role.RECORDER, ttl_seconds=DEMO_TOKEN_SECONDS),
    )


async def keep_offering(address: str, tokens: Hs256Tokens, every_seconds: float = _OFFER_AGAIN_SECONDS) -> None:
    """Offer another slot that starts soon again and again, so that whoever comes later also finds one.

    Those of later today and tomorrow are followed by others as well. A time at which the coordinator does not answer is
    passed over.
    """
    async with aiohttp.ClientSession() as http:
        api = ApiClient(http, address)
        while True:
            await asyncio.sleep(every_seconds)
            admin = tokens.issue(UserId("demo-admin"), Role.ADMIN, ttl_seconds=_ADMIN_TOKEN_SECONDS)
            now = datetime.now(UTC)
            with suppress(CoordinatorError, OSError):
                await api.post("/time-slots", admin, TimeSlot, _terms(Language.FRENCH, Level.B1, now + _START_IN))
                for wanted in _SLOTS:
                    await _offer_slot(api, admin, wanted, now)


def _token(tokens: Hs256Tokens, user: str) -> str:
    return tokens.issue(UserId(user), Role.PARTICIPANT, ttl_seconds=DEMO_TOKEN_SECONDS)


def _terms(language: Language, level: Level, start: datetime) -> dict[str, Any]:
    return {
        "targetLanguageCode": language,
        "level": level,
        "startTime": wire_time(start),
        "durationMinutes": _DURATION_MINUTES,
    }


async def _offer_slot(api: ApiClient, token: str, wanted: DemoSlot, now: datetime) -> None:
    """Offer a slot, unless an earlier demo's like it is still to come."""
    until = now + wanted.starts_in + _QUARTER
    like_it: dict[str, str] = {"targetLanguageCode": str(wanted.target_language_code), "level": str(wanted.level)}
    times = {"from": wire_time(now), "to": wire_time(until)}
    found = await api.get("/time-slots", token, _Page, isActive="true", **like_it, **times)
    if not found.items:
        start = now + wanted.starts_in
        start += _QUARTER - (start - datetime.min.replace(tzinfo=UTC)) % _QUARTER
        terms = {**_terms(wanted.target_language_code, wanted.level, start), "durationMinutes": wanted.duration_minutes}
        await api.post("/time-slots", token, TimeSlot, terms)


async def _offer_series(api: ApiClient, token: str, series: DemoSeries, now: datetime) -> None:
    """Offer a series, unless it has been: by a demo of another day, or by one that runs at the same time."""
    local = _first_start(series, now)
    start = instant_of(local, series.timezone)
    terms = _terms(series.target_language_code, series.level, start)
    language = str(series.target_language_code)
    at = {"from": terms["startTime"], "to": terms["startTime"]}
    found = await api.get(
        "/time-slots", token, _Page, targetLanguageCode=language, level=str(series.level), isActive="true", **at
    )
    if any(slot.recurrence is series.recurrence for slot in found.items):
        return
    repeating = {**terms, "recurrence": series.recurrence, "timezone": series.timezone}
    key = f"demo-{language}-{series.level}-{series.recurrence}-{local.date()}"
    await api.post("/time-slots", token, TimeSlot, repeating, key=key)


def _first_start(series: DemoSeries, now: datetime) -> datetime:
    """Return when a series begins, by the clocks of its zone: tomorrow, or on the next such weekday after today."""
    today = wall_clock(now, series.timezone).date()
    days = 1 if series.weekday is None else (series.weekday - today.weekday() - 1) % 7 + 1
    return datetime.combine(today + timedelta(days=days), series.at)


async def _register(api: ApiClient, tokens: Hs256Tokens, slot: TimeSlot, user: str) -> str:
    """Register a user, or a namesake if an earlier demo slot is not over for the user; return who it was."""
    for number in range(1, _MOST_NAMESAKES + 1):
        name = user if number == 1 else f"{user}-{number}"
        try:
            await api.post(f"/time-slots/{slot.id}/registrations", _token(tokens, name), Registration, {})
        except OverlappingRegistrationError:
            continue
        return name
    raise OverlappingRegistrationError(f"{_MOST_NAMESAKES} demo slots are not over yet: wait until some are")


async def _session_of(api: ApiClient, token: str, slot: TimeSlot) -> SessionId | None:
    for _ in range(_PATIENCE_POLLS):
        now_is = await api.get(f"/time-slots/{slot.id}", token, TimeSlot)
        if now_is.session_id is not None:
            return now_is.session_id
        await asyncio.sleep(_POLL_SECONDS)
    return None


def describe_demo(offer: DemoOffer, address: str) -> None:
    """Print what was offered and how to go in."""
    slot, shown = offer.slot, plain(address)
    start = slot.start_time.astimezone().strftime("%H:%M:%S")
    minutes = slot.duration_minutes
    out.print(f"\nDemo slot {slot.id}: {slot.target_language_code} {slot.level}, starts at {start}, {minutes} minutes")
    if offer.session_id is None:
        out.print(f"Its session has not opened yet; GET /api/v1/time-slots/{slot.id} shows its sessionId once it has.")
    else:
        out.print(f"Session [bold]{offer.session_id}[/]")
    if offer.tokens.keys() != set(DEMO_USERS):
        out.print(
            "Users with a number stand in for those whose earlier demo slot is not over: nobody is in two at once.",
            soft_wrap=True,
        )
    if offer.session_id is not None:
        out.print("Open these in two browser windows:")
        for user, token in list(offer.tokens.items())[:2]:
            out.print(f"  {user}: {shown}/#session={offer.session_id}&token={token}", soft_wrap=True)
    out.print("\nTokens (12 h):")
    others = [("demo-moderator", offer.moderator_token), ("demo-recorder", offer.recorder_token)]
    for user, token in [*offer.tokens.items(), *others]:
        out.print(f"  {user}  {token}", soft_wrap=True)
    words = ", ".join(series.words for series in _SERIES)
    out.print(f"\nAlso on offer: {words}. The HTTP interface: {shown}/docs", soft_wrap=True)
