"""`/users/{userId}/registrations`: what a user has booked, as JSON and as a calendar (SPEC section 4)."""

from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from coordinator.domain.errors import ForbiddenError
from coordinator.domain.ids import UserId
from coordinator.domain.model import Registration, TimeSlot
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.clock import Clock
from coordinator.protocol import views
from coordinator.protocol.calendar import calendar
from coordinator.protocol.reading import given
from coordinator.protocol.requests import NoBody, OneUser, UserRegistrations
from coordinator.services.booking import Booking
from coordinator.transports.rest.access import check_acts_for
from coordinator.transports.rest.operations import API, Answer, Call, Operation, Outcome, Tag
from coordinator.transports.rest.paging import cut

_REGISTRATIONS = f"{API}/users/{{userId}}/registrations"
_STRETCH = 200
"""How many bookings are read at a time for a calendar."""


class UserOperations:
    """What can be read about a user."""

    def __init__(self, booking: Booking, clock: Clock) -> None:
        self._booking = booking
        self._clock = clock

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="GET",
                path=_REGISTRATIONS,
                name="findUserRegistrations",
                summary="Find the registrations of a user",
                tag=Tag.REGISTRATIONS,
                handler=self.find,
                parameters=UserRegistrations,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of registrations.", view=views.Bookings)},
                refusals=(ForbiddenError,),
            ),
            Operation(
                method="GET",
                path=f"{_REGISTRATIONS}.ics",
                name="getUserCalendar",
                summary="Read a user's registrations as a calendar",
                tag=Tag.REGISTRATIONS,
                handler=self.calendar,
                parameters=OneUser,
                body=NoBody,
                outcomes={
                    HTTPStatus.OK: Outcome(
                        meaning="A calendar (RFC 5545).", view=None, content_type="text/calendar; charset=utf-8"
                    )
                },
                refusals=(ForbiddenError,),
            ),
        ]

    async def find(self, call: Call[UserRegistrations, NoBody]) -> Answer:
        """Find a user's registrations, each with its time slot. A participant is shown only its own."""
        wanted = call.parameters
        user_id = UserId(wanted.user_id)
        check_acts_for(call.identity, user_id)
        query = RegistrationQuery(
            user_id=user_id,
            status=given(wanted.status),
            after=given(wanted.cursor),
            limit=wanted.limit + 1,
        )
        found, following = cut(await self._booking.of_user(query), wanted.limit, _cursor_of)
        items = [views.booking_view(registration, slot) for registration, slot in found]
        return Answer(content=views.Bookings(items=items, next=following))

    async def calendar(self, call: Call[OneUser, NoBody]) -> Answer:
        """Read everything a user has booked as an iCalendar file. Cancelled registrations are left out.

        A participant is shown only its own.
        """
        user_id = UserId(call.parameters.user_id)
        check_acts_for(call.identity, user_id)
        return Answer(content=calendar(user_id, await self._everything(user_id), self._clock.now()))

    async def _everything(self, user_id: UserId) -> list[tuple[Registration, TimeSlot]]:
        query = RegistrationQuery(user_id=user_id, limit=_STRETCH)
        everything: list[tuple[Registration, TimeSlot]] = []
        while stretch := await self._booking.of_user(query):
            everything += stretch
            query = replace(query, after=_cursor_of(stretch[-1]))
        return everything


def _cursor_of(booking: tuple[Registration, TimeSlot]) -> str:
    return booking[0].id
