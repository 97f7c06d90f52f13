"""Demo data: a slot that starts in one minute, registered demo users, their tokens."""

from datetime import timedelta
from typing import NamedTuple

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.app import Ports
from coordinator.cli.common import out
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Language, Level, Recurrence, Registration, RegistrationStatus, TimeSlot

DEMO_USERS = ("ada", "bruno", "chloe", "diego")
_START_IN = timedelta(minutes=1)
_TOKEN_SECONDS = 12 * 3600
_PATIENCE_POLLS = 50
_POLL_SECONDS = 0.1


class DemoOffer(NamedTuple):
    """What was made: the slot, its session if a coordinator has opened it, and a token for each user."""

    slot: TimeSlot
    session_id: SessionId | None
    tokens: dict[str, str]
    moderator_token: str


async def seed_demo(ports: Ports, tokens: Hs256Tokens) -> DemoOffer:
    """Offer a slot that starts in a minute, register the demo users, and wait a little for its session."""
    now = ports.clock.now()
    slot = TimeSlot(
        id=SlotId(ports.ids.new_id()),
        target_language_code=Language.FRENCH,
        level=Level.B1,
        start_time=now + _START_IN,
        duration_minutes=15,
        recurrence=Recurrence.ONCE,
        is_active=True,
        created_at=now,
        updated_at=now,
        registered_count=len(DEMO_USERS),
    )
    await ports.catalog.add_slot(slot)
    for user in DEMO_USERS:
        registration = Registration(
            id=ports.ids.new_id(),
            time_slot_id=slot.id,
            user_id=UserId(user),
            status=RegistrationStatus.REGISTERED,
            registered_at=now,
        )
        await ports.bookings.add(registration)
    return DemoOffer(
        slot,
        await _session_of(ports, slot.id),
        {user: tokens.issue(UserId(user), Role.PARTICIPANT, ttl_seconds=_TOKEN_SECONDS) for user in DEMO_USERS},
        tokens.issue(UserId("demo-moderator"), Role.MODERATOR, ttl_seconds=_TOKEN_SECONDS),
    )


async def _session_of(ports: Ports, slot_id: SlotId) -> SessionId | None:
    for _ in range(_PATIENCE_POLLS):
        slot = await ports.catalog.slot(slot_id)
        if slot is not None and slot.session_id is not None:
            return slot.session_id
        await ports.clock.sleep(_POLL_SECONDS)
    return None


def describe_demo(offer: DemoOffer, address: str | None) -> None:
    """Print what was made and how to go in."""
    slot = offer.slot
    start = slot.start_time.astimezone().strftime("%H:%M:%S")
    out.print(f"\nDemo slot {slot.id}: {slot.target_language_code} {slot.level}, starts at {start}, 15 minutes")
    if offer.session_id is None:
        out.print("No coordinator has opened its session yet: start one with `coordinator serve` on the same data.")
    else:
        out.print(f"Session [bold]{offer.session_id}[/]")
    if address is not None and offer.session_id is not None:
        out.print("Open these in two browser windows:")
        for user, token in list(offer.tokens.items())[:2]:
            out.print(f"  {user}: {address}/#session={offer.session_id}&token={token}", soft_wrap=True)
    out.print("\nTokens (12 h):")
    for user, token in [*offer.tokens.items(), ("demo-moderator", offer.moderator_token)]:
        out.print(f"  {user}  {token}", soft_wrap=True)
