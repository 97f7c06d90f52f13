"""`/time-slots/{slotId}/registrations`: who wants to come (SPEC sections 2 and 4)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from coordinator.domain.errors import (
    OverlappingRegistrationError,
    SlotFullError,
    SlotInactiveError,
    SlotOverError,
)
from coordinator.domain.events import Role
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration
from coordinator.ports.bookings import RegistrationQuery
from coordinator.protocol import views
from coordinator.protocol.reading import given
from coordinator.protocol.requests import (
    NewRegistration,
    NewSlotRegistration,
    NoBody,
    SlotRegistration,
    SlotRegistrations,
)
from coordinator.services.booking import Booking
from coordinator.transports.rest.access import check_acts_for
from coordinator.transports.rest.operations import ANYONE, API, STAFF, Answer, Call, Operation, Outcome, Tag
from coordinator.transports.rest.paging import cut

_REGISTRATIONS = f"{API}/time-slots/{{slotId}}/registrations"
_REGISTRARS = ANYONE - {Role.RECORDER}


class RegistrationOperations:
    """What can be done with the registrations for a slot."""

    def __init__(self, booking: Booking) -> None:
        self._booking = booking

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="POST",
                path=_REGISTRATIONS,
                name="register",
                summary="Register for a time slot",
                tag=Tag.REGISTRATIONS,
                handler=self.register,
                parameters=NewSlotRegistration,
                body=NewRegistration,
                body_required=False,
                roles=_REGISTRARS,
                outcomes={
                    HTTPStatus.CREATED: Outcome(
                        meaning="Registered now, for the first time or again.",
                        view=views.Registration,
                        headers=("Location",),
                    ),
                    HTTPStatus.OK: Outcome(
                        meaning="Registered already; nothing has changed.",
                        view=views.Registration,
                        headers=("Location",),
                    ),
                },
                refusals=(SlotFullError, SlotInactiveError, SlotOverError, OverlappingRegistrationError),
            ),
            Operation(
                method="GET",
                path=_REGISTRATIONS,
                name="findRegistrations",
                summary="Find the registrations for a time slot",
                tag=Tag.REGISTRATIONS,
                handler=self.find,
                parameters=SlotRegistrations,
                body=NoBody,
                roles=STAFF,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of registrations.", view=views.Registrations)},
            ),
            Operation(
                method="DELETE",
                path=f"{_REGISTRATIONS}/{{userId}}",
                name="cancelRegistration",
                summary="Cancel a registration",
                tag=Tag.REGISTRATIONS,
                handler=self.cancel,
                parameters=SlotRegistration,
                body=NoBody,
                roles=_REGISTRARS,
                outcomes={HTTPStatus.OK: Outcome(meaning="Cancelled, now or before.", view=views.Registration)},
                refusals=(SlotOverError,),
            ),
        ]

    async def register(self, call: Call[NewSlotRegistration, NewRegistration]) -> Answer:
        """Register whoever asks, or the user that is named, which only moderators and admins may.

        One user has at most one registration for a slot; registering again after it was cancelled revives it.
        """
        user_id = UserId(given(call.body.user_id) or call.identity.user_id)
        check_acts_for(call.identity, user_id)
        slot_id = SlotId(call.parameters.slot_id)
        booked = await self._booking.register(slot_id, user_id)
        location = f"{_REGISTRATIONS.format(slotId=slot_id)}/{quote(user_id, safe='')}"
        return Answer(
            content=views.registration_view(booked.registration),
            status=HTTPStatus.CREATED if booked.is_new else HTTPStatus.OK,
            headers={"Location": location},
        )

    async def find(self, call: Call[SlotRegistrations, NoBody]) -> Answer:
        """Find the registrations for a time slot, cancelled ones too unless `status` says otherwise."""
        wanted = call.parameters
        query = RegistrationQuery(
            slot_id=SlotId(wanted.slot_id),
            status=given(wanted.status),
            after=given(wanted.cursor),
            limit=wanted.limit + 1,
        )
        found, following = cut(await self._booking.of_slot(query), wanted.limit, _cursor_of)
        items = [views.registration_view(registration) for registration in found]
        return Answer(content=views.Registrations(items=items, next=following))

    async def cancel(self, call: Call[SlotRegistration, NoBody]) -> Answer:
        """Cancel a registration, which frees the seat. Cancelling again changes nothing.

        A participant cancels only its own. What has been attended or missed can no longer be cancelled.
        """
        user_id = UserId(call.parameters.user_id)
        check_acts_for(call.identity, user_id)
        registration = await self._booking.cancel(SlotId(call.parameters.slot_id), user_id)
        return Answer(content=views.registration_view(registration))


def _cursor_of(registration: Registration) -> str:
    return registration.id
