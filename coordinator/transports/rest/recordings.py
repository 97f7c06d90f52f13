"""`/sessions/{sessionId}/recordings`: attaching what was recorded, and finding it (SPEC sections 2 and 4)."""

from http import HTTPStatus
from typing import Any

from coordinator.domain.errors import ForbiddenError, RecordingNotPermittedError
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Recording
from coordinator.protocol import views
from coordinator.protocol.requests import NewRecording, NoBody, OneSession, SessionAction
from coordinator.services.recordings import Recordings
from coordinator.transports.rest.access import Access, only_own
from coordinator.transports.rest.operations import API, Answer, Call, Operation, Outcome, Tag

_RECORDINGS = f"{API}/sessions/{{sessionId}}/recordings"


class RecordingOperations:
    """What can be done with the recordings of a session."""

    def __init__(self, recordings: Recordings, access: Access) -> None:
        self._recordings = recordings
        self._access = access

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="POST",
                path=_RECORDINGS,
                name="attachRecording",
                summary="Attach a recording",
                tag=Tag.RECORDINGS,
                handler=self.attach,
                parameters=SessionAction,
                body=NewRecording,
                roles=frozenset({Role.RECORDER, Role.ADMIN}),
                outcomes={
                    HTTPStatus.CREATED: Outcome(meaning="Attached now.", view=views.Recording),
                    HTTPStatus.OK: Outcome(meaning="Attached before; nothing has changed.", view=views.Recording),
                },
                refusals=(RecordingNotPermittedError,),
            ),
            Operation(
                method="GET",
                path=_RECORDINGS,
                name="getRecordings",
                summary="Read the recordings of a session",
                tag=Tag.RECORDINGS,
                handler=self.find,
                parameters=OneSession,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="All that may be seen.", view=views.Recordings)},
                refusals=(ForbiddenError,),
            ),
        ]

    async def attach(self, call: Call[SessionAction, NewRecording]) -> Answer:
        """Attach a recording of a participant that began when the user could be recorded; also after the session.

        The same URL of the same user is attached once.
        """
        body, session_id = call.body, SessionId(call.parameters.session_id)
        recording = Recording(user_id=UserId(body.user_id), url=body.url, start_time=body.start_time)
        if (await self._recordings.attach(call.identity.actor, session_id, recording)).is_new:
            return Answer(content=views.recording_view(recording), status=HTTPStatus.CREATED)
        attached = await self._recordings.of_session(session_id)
        before = next(item for item in attached if (item.user_id, item.url) == (recording.user_id, recording.url))
        return Answer(content=views.recording_view(before))

    async def find(self, call: Call[OneSession, NoBody]) -> Answer:
        """Read the recordings of a session. A participant who took part is shown only its own."""
        session_id = SessionId(call.parameters.session_id)
        await self._access.check_may_see(call.identity, session_id)
        recordings = await self._recordings.of_session(session_id)
        return Answer(content=views.Recordings(items=list(views.recording_views(recordings, only_own(call.identity)))))
