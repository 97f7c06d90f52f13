"""`/sessions`: finding, reading and steering them (SPEC section 4). What is read is never older than any ack."""

from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET

from coordinator.domain.errors import ForbiddenError, SessionEndedError
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Session
from coordinator.ports.projections import SessionQuery
from coordinator.protocol import views
from coordinator.protocol.reading import given
from coordinator.protocol.requests import (
    EndSession,
    NoBody,
    OneSession,
    RecordingSwitch,
    SessionAction,
    SessionEvents,
    SessionFilter,
)
from coordinator.services.moderation import Moderation
from coordinator.services.reader import Reader
from coordinator.transports.rest.access import Access, only_own
from coordinator.transports.rest.operations import API, MANAGERS, Answer, Call, Operation, Outcome, Tag
from coordinator.transports.rest.paging import cut, moment_cursor, place_of

_SESSIONS = f"{API}/sessions"
_SESSION = f"{_SESSIONS}/{{sessionId}}"


class SessionOperations:
    """What can be done with sessions; their recordings are in `recordings`."""

    def __init__(self, reader: Reader, moderation: Moderation, access: Access) -> None:
        self._reader = reader
        self._moderation = moderation
        self._access = access

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [*self._reading(), *self._steering()]

    def _reading(self) -> list[Operation[Any, Any]]:
        return [
            Operation(
                method="GET",
                path=_SESSIONS,
                name="findSessions",
                summary="Find sessions",
                tag=Tag.SESSIONS,
                handler=self.find,
                parameters=SessionFilter,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of sessions.", view=views.Sessions)},
            ),
            Operation(
                method="GET",
                path=_SESSION,
                name="getSession",
                summary="Read a session",
                tag=Tag.SESSIONS,
                handler=self.get,
                parameters=OneSession,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="The session.", view=views.Session)},
            ),
            Operation(
                method="GET",
                path=f"{_SESSION}/participants",
                name="getParticipants",
                summary="Read who is or was in a session",
                tag=Tag.SESSIONS,
                handler=self.participants,
                parameters=OneSession,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="All of them.", view=views.Participants)},
                refusals=(ForbiddenError,),
            ),
            Operation(
                method="GET",
                path=f"{_SESSION}/events",
                name="getEvents",
                summary="Read a session's log",
                tag=Tag.SESSIONS,
                handler=self.events,
                parameters=SessionEvents,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of the log.", view=views.Events)},
                refusals=(ForbiddenError,),
            ),
        ]

    def _steering(self) -> list[Operation[Any, Any]]:
        session = Outcome(meaning="The session as it is then.", view=views.Session)
        return [
            Operation(
                method="POST",
                path=f"{_SESSION}/end",
                name="endSession",
                summary="End a session",
                tag=Tag.SESSIONS,
                handler=self.end,
                parameters=SessionAction,
                body=EndSession,
                body_required=False,
                roles=MANAGERS,
                outcomes={HTTPStatus.OK: session},
            ),
            Operation(
                method="PUT",
                path=f"{_SESSION}/recording",
                name="setRecording",
                summary="Switch recording on or off",
                tag=Tag.RECORDINGS,
                handler=self.set_recording,
                parameters=OneSession,
                body=RecordingSwitch,
                roles=MANAGERS,
                outcomes={HTTPStatus.OK: session},
                refusals=(SessionEndedError,),
            ),
        ]

    async def find(self, call: Call[SessionFilter, NoBody]) -> Answer:
        """Find sessions, the newest first. They are kept for 30 days."""
        wanted = call.parameters
        slot_id = given(wanted.time_slot_id)
        place = place_of(wanted.cursor)
        query = SessionQuery(
            status=given(wanted.status),
            target_language_code=given(wanted.target_language_code),
            slot_id=None if slot_id is None else SlotId(slot_id),
            after=None if place is None else (place[0], SessionId(place[1])),
            limit=wanted.limit + 1,
        )
        found, following = cut(await self._reader.sessions(query), wanted.limit, _cursor_of)
        items = [views.session_view(session, only_own(call.identity)) for session in found]
        return Answer(content=views.Sessions(items=items, next=following))

    async def get(self, call: Call[OneSession, NoBody]) -> Answer:
        """Read a session. It is never older than what anybody was told before."""
        snapshot = await self._reader.snapshot(SessionId(call.parameters.session_id))
        return Answer(content=views.session_view(snapshot.session, only_own(call.identity)))

    async def participants(self, call: Call[OneSession, NoBody]) -> Answer:
        """Read everyone who has ever been in the session, in the order in which they first joined.

        A participant is shown the sessions that it is registered for or has been in.
        """
        session_id = SessionId(call.parameters.session_id)
        await self._access.check_may_see(call.identity, session_id)
        snapshot = await self._reader.snapshot(session_id)
        return Answer(
            content=views.Participants(items=[views.participant_view(item) for item in snapshot.participants])
        )

    async def events(self, call: Call[SessionEvents, NoBody]) -> Answer:
        """Read at most `limit` events after `after`, in order; exactly what subscribers were sent.

        A participant is shown the sessions that it is registered for or has been in. A log may be kept longer than its
        session: everyone but participants can still read it then.
        """
        wanted = call.parameters
        session_id = SessionId(wanted.session_id)
        await self._access.check_may_see(call.identity, session_id)
        events = await self._reader.events(session_id, wanted.after, wanted.limit + 1)
        page = events[: wanted.limit]
        return Answer(
            content=views.SealedEvents(
                items=[msgspec.Raw(sealed.json) for sealed in page],
                next=page[-1].event.seq if len(events) > wanted.limit else UNSET,
            )
        )

    async def end(self, call: Call[SessionAction, EndSession]) -> Answer:
        """End a session now, for good. Ending it again changes nothing."""
        session_id = SessionId(call.parameters.session_id)
        await self._moderation.end_session(call.identity.actor, session_id)
        return await self._session_then(session_id)

    async def set_recording(self, call: Call[OneSession, RecordingSwitch]) -> Answer:
        """Switch recording of a session on or off.

        While it is on, and the session is active, those connected users are recorded who have granted consent.
        """
        session_id = SessionId(call.parameters.session_id)
        await self._moderation.set_recording(call.identity.actor, session_id, call.body.enabled)
        return await self._session_then(session_id)

    async def _session_then(self, session_id: SessionId) -> Answer:
        return Answer(content=views.session_view((await self._reader.snapshot(session_id)).session))


def _cursor_of(session: Session) -> str:
    return moment_cursor(session.created_at, session.id)
