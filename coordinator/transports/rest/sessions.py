"""`GET /api/v1/sessions/{id}`, `/participants`, `/events` (SPEC section 4). Never older than any ack."""

import msgspec
from aiohttp import web

from coordinator.protocol.codec import participant_to_wire, to_wire
from coordinator.services.reader import Reader
from coordinator.transports.rest.access import Access, check_query, integer_of, session_id_of
from coordinator.transports.rest.problems import json_response

_MAX_EVENTS = 1000
_DEFAULT_EVENTS = 100


class SessionRoutes:
    """What can be read of one session."""

    def __init__(self, reader: Reader, access: Access) -> None:
        self._reader = reader
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/v1/sessions/{session_id}", self.session),
            web.get("/api/v1/sessions/{session_id}/participants", self.participants),
            web.get("/api/v1/sessions/{session_id}/events", self.events),
        ]

    async def session(self, request: web.Request) -> web.Response:
        """Return the session; any valid token may see it."""
        self._access.identify(request)
        check_query(request)
        snapshot = await self._reader.snapshot(session_id_of(request))
        return json_response(to_wire(snapshot.session))

    async def participants(self, request: web.Request) -> web.Response:
        """Return everyone who has ever been in the session, in the order in which they first joined."""
        identity = self._access.identify(request)
        check_query(request)
        session_id = session_id_of(request)
        await self._access.check_may_see(identity, session_id)
        snapshot = await self._reader.snapshot(session_id)
        return json_response({"items": [participant_to_wire(participant) for participant in snapshot.participants]})

    async def events(self, request: web.Request) -> web.Response:
        """Return at most `limit` events after `after`; `next` is the `after` of the following page, if there is one."""
        identity = self._access.identify(request)
        check_query(request, "after", "limit")
        session_id = session_id_of(request)
        after = integer_of(request, "after", 0, 0)
        limit = integer_of(request, "limit", _DEFAULT_EVENTS, 1, _MAX_EVENTS)
        await self._access.check_may_see(identity, session_id)
        events = await self._reader.events(session_id, after, limit + 1)
        page = events[:limit]
        data: dict[str, object] = {"items": [msgspec.Raw(sealed.json) for sealed in page]}
        if len(events) > limit:
            data["next"] = page[-1].event.seq
        return json_response(data)
