"""`/time-slots`: offering, finding, changing and withdrawing time slots (SPEC sections 2 and 4)."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from msgspec import UNSET

from coordinator.domain.errors import SessionEndedError, SlotInactiveError, SlotOverError
from coordinator.domain.ids import SlotId
from coordinator.domain.model import DURATIONS_MINUTES, SlotChanges, TimeSlot
from coordinator.domain.slots import SlotTerms
from coordinator.ports.catalog import SlotQuery
from coordinator.ports.clock import Clock
from coordinator.protocol import views
from coordinator.protocol.reading import given
from coordinator.protocol.requests import (
    NewTimeSlot,
    NoBody,
    OneSlot,
    Repeatable,
    SlotEdit,
    SlotFilter,
    TimeSlotChanges,
)
from coordinator.services.offering import Offering
from coordinator.transports.rest.operations import API, MANAGERS, Answer, Call, Operation, Outcome, Tag
from coordinator.transports.rest.paging import cut, moment_cursor, place_of
from coordinator.transports.rest.versions import etag_of, expected_version

_LONGEST = timedelta(minutes=max(DURATIONS_MINUTES))
_SLOTS = f"{API}/time-slots"
_SLOT = f"{_SLOTS}/{{slotId}}"


class TimeSlotOperations:
    """What can be done with time slots."""

    def __init__(self, offering: Offering, clock: Clock) -> None:
        self._offering = offering
        self._clock = clock

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        slot = Outcome(meaning="The slot.", view=views.TimeSlot, headers=("ETag",))
        return [
            Operation(
                method="POST",
                path=_SLOTS,
                name="offerTimeSlot",
                summary="Offer a time slot, or a series of them",
                tag=Tag.TIME_SLOTS,
                handler=self.offer,
                parameters=Repeatable,
                body=NewTimeSlot,
                roles=MANAGERS,
                outcomes={
                    HTTPStatus.CREATED: Outcome(
                        meaning="The slot that is offered now.", view=views.TimeSlot, headers=("Location", "ETag")
                    )
                },
            ),
            Operation(
                method="GET",
                path=_SLOTS,
                name="findTimeSlots",
                summary="Find time slots",
                tag=Tag.TIME_SLOTS,
                handler=self.find,
                parameters=SlotFilter,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of slots.", view=views.TimeSlots)},
            ),
            Operation(
                method="GET",
                path=_SLOT,
                name="getTimeSlot",
                summary="Read a time slot",
                tag=Tag.TIME_SLOTS,
                handler=self.get,
                parameters=OneSlot,
                body=NoBody,
                outcomes={HTTPStatus.OK: slot},
            ),
            Operation(
                method="PATCH",
                path=_SLOT,
                name="changeTimeSlot",
                summary="Change a time slot, or its series",
                tag=Tag.TIME_SLOTS,
                handler=self.change,
                parameters=SlotEdit,
                body=TimeSlotChanges,
                roles=MANAGERS,
                outcomes={HTTPStatus.OK: slot},
                refusals=(SlotInactiveError, SlotOverError, SessionEndedError),
            ),
            Operation(
                method="DELETE",
                path=_SLOT,
                name="withdrawTimeSlot",
                summary="Withdraw a time slot, or its series",
                tag=Tag.TIME_SLOTS,
                handler=self.withdraw,
                parameters=SlotEdit,
                body=NoBody,
                roles=MANAGERS,
                outcomes={HTTPStatus.OK: slot},
                refusals=(SlotOverError,),
            ),
        ]

    async def offer(self, call: Call[Repeatable, NewTimeSlot]) -> Answer:
        """Offer a time slot.

        One that repeats is the first of a series: its later occurrences are made as slots of their own, 14 days ahead,
        and name it in `seriesId`.
        """
        body = call.body
        terms = SlotTerms(
            target_language_code=body.target_language_code,
            level=body.level,
            start_time=body.start_time,
            duration_minutes=body.duration_minutes,
            max_participants=body.max_participants,
            min_participants=body.min_participants,
            recurrence=body.recurrence,
            timezone=body.timezone,
        )
        slot = await self._offering.offer(terms, SlotId(call.new_id))
        headers = {"Location": f"{_SLOTS}/{slot.id}", "ETag": etag_of(slot)}
        return Answer(content=views.slot_view(slot), status=HTTPStatus.CREATED, headers=headers)

    async def find(self, call: Call[SlotFilter, NoBody]) -> Answer:
        """Find time slots, the earliest first; withdrawn ones too, unless `isActive` says otherwise."""
        wanted = call.parameters
        series_id = given(wanted.series_id)
        place = place_of(wanted.cursor)
        query = SlotQuery(
            start_from=given(wanted.from_) or self._clock.now() - _LONGEST,
            start_until=given(wanted.to),
            target_language_code=given(wanted.target_language_code),
            level=given(wanted.level),
            is_active=given(wanted.is_active),
            series_id=None if series_id is None else SlotId(series_id),
            after=None if place is None else (place[0], SlotId(place[1])),
            limit=wanted.limit + 1,
        )
        slots, following = cut(await self._offering.page(query), wanted.limit, _cursor_of)
        return Answer(content=views.TimeSlots(items=[views.slot_view(slot) for slot in slots], next=following))

    async def get(self, call: Call[OneSlot, NoBody]) -> Answer:
        """Read a time slot. Its `ETag` is its version, for `If-Match`."""
        return _shown(await self._offering.slot(SlotId(call.parameters.slot_id)))

    async def change(self, call: Call[SlotEdit, TimeSlotChanges]) -> Answer:
        """Change what is given and leave the rest as it is.

        With `scope=series` the change is made to this slot, to every other coming one of its series, and to those that
        are still to be made. A slot whose session is open can only be withdrawn.
        """
        body = call.body
        changes = SlotChanges(
            target_language_code=given(body.target_language_code),
            level=given(body.level),
            start_time=given(body.start_time),
            duration_minutes=given(body.duration_minutes),
            max_participants=given(body.max_participants),
            min_participants=given(body.min_participants),
            timezone=given(body.timezone),
            is_active=given(body.is_active),
        )
        slot_id, expected = await self._aim(call.parameters)
        whole_series = call.parameters.scope == "series"
        return _shown(await self._offering.edit(slot_id, changes, whole_series=whole_series, expected=expected))

    async def withdraw(self, call: Call[SlotEdit, NoBody]) -> Answer:
        """Withdraw a time slot: its registrations are cancelled, and its session does not take place.

        With `scope=series` every other coming slot of its series is withdrawn too, and no more are made. What was
        withdrawn stays readable.
        """
        slot_id, expected = await self._aim(call.parameters)
        whole_series = call.parameters.scope == "series"
        return _shown(await self._offering.deactivate(slot_id, whole_series=whole_series, expected=expected))

    async def _aim(self, parameters: SlotEdit) -> tuple[SlotId, datetime | None]:
        """Return which slot is meant, and at which version; None for any."""
        slot_id = SlotId(parameters.slot_id)
        if parameters.if_match is UNSET:
            return slot_id, None
        return slot_id, expected_version(parameters.if_match, await self._offering.slot(slot_id))


def _cursor_of(slot: TimeSlot) -> str:
    return moment_cursor(slot.start_time, slot.id)


def _shown(slot: TimeSlot) -> Answer:
    return Answer(content=views.slot_view(slot), headers={"ETag": etag_of(slot)})
