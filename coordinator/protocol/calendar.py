"""A user's bookings as an iCalendar file (RFC 5545), for calendar programs to fetch.

Owns what an event says; must not know who may see it, nor how it is delivered.
"""

from collections.abc import Sequence
from datetime import datetime

from icalendar import STATUS, Calendar, Event, vText

from coordinator.domain.ids import UserId
from coordinator.domain.model import Language, Registration, RegistrationStatus, TimeSlot

_PRODUCT = "-//Conversation Coordinator//Bookings//EN"
_LANGUAGES = {Language.ENGLISH: "English", Language.FRENCH: "French", Language.SPANISH: "Spanish"}
_OUTCOMES = {RegistrationStatus.ATTENDED: "You took part.", RegistrationStatus.NOSHOW: "You did not take part."}


def calendar(user_id: UserId, bookings: Sequence[tuple[Registration, TimeSlot]], now: datetime) -> bytes:
    """Return the user's bookings as a VCALENDAR: one VEVENT each, in UTC, with a UID that never changes.

    Cancelled registrations are left out instead of being marked as cancelled, and so is what a withdrawn slot is about
    to cancel: a program that fetches the calendar again drops what is no longer in it, and many show cancelled events
    as if they took place. A registration that is made again comes back under its UID.

    There is no METHOD: this is a calendar, not an invitation (RFC 5546, section 3.2.1, would want an organizer). A
    DTSTAMP then says when the event was last revised (RFC 5545, section 3.8.7.2), so that bytes differ only where
    something has changed.

    Args:
        user_id: Whose bookings these are; named in the calendar's title.
        bookings: The registrations, each with its slot.
        now: The present time; nothing was revised later than that.
    """
    made = Calendar()
    made.add("prodid", _PRODUCT)
    made.add("version", "2.0")
    # As plain text it would not be escaped: the library does not know what type the property has.
    made.add("x-wr-calname", vText(f"Conversations of {_printable(user_id)}"))
    for registration, slot in bookings:
        if _takes_place(registration, slot):
            made.add_component(_event(registration, slot, now))
    written: bytes = made.to_ical()
    return written


def _takes_place(registration: Registration, slot: TimeSlot) -> bool:
    """Tell whether there was, or is to be, a conversation: a slot can be withdrawn a moment before its bookings are."""
    return registration.status in _OUTCOMES or (registration.status is RegistrationStatus.REGISTERED and slot.is_active)


def _event(registration: Registration, slot: TimeSlot, now: datetime) -> Event:
    language = _LANGUAGES[slot.target_language_code]
    revised = _revised(registration, slot, now)
    return Event.new(
        uid=f"{registration.id}@conversation-coordinator",
        stamp=revised,
        created=registration.registered_at,
        last_modified=revised,
        start=slot.start_time,
        end=slot.end_time,
        summary=f"{language} conversation, level {slot.level}",
        description=_description(registration, slot),
        categories=["Conversation", language, slot.level],
        status=STATUS.CONFIRMED,
    )


def _description(registration: Registration, slot: TimeSlot) -> str:
    lines = [
        f"{slot.duration_minutes} minutes, {slot.min_participants} to {slot.max_participants} participants.",
        f"Time slot {slot.id}",
    ]
    if registration.status in _OUTCOMES:
        lines.insert(0, _OUTCOMES[registration.status])
    return "\n".join(lines)


def _revised(registration: Registration, slot: TimeSlot, now: datetime) -> datetime:
    """Return when anything in the event last changed."""
    revised = max(registration.registered_at, slot.updated_at)
    if registration.status in _OUTCOMES:
        # Written when the session ended: at the slot's end, or earlier.
        revised = max(revised, min(slot.end_time, now))
    return revised


def _printable(text: str) -> str:
    """Replace what may not stand in a calendar's text: control characters, and what is not Unicode at all."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
