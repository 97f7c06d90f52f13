"""The whole HTTP API over the services: every operation, its route, and the document that describes them all."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web

from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource, TokenVerifier
from coordinator.ports.replies import Replies
from coordinator.protocol import asyncapi
from coordinator.protocol.requests import NoBody, Parameters
from coordinator.services.booking import Booking
from coordinator.services.consents import Consents
from coordinator.services.moderation import Moderation
from coordinator.services.offering import Offering
from coordinator.services.reader import Reader
from coordinator.services.recordings import Recordings
from coordinator.transports.rest import openapi
from coordinator.transports.rest.access import Access
from coordinator.transports.rest.consents import ConsentOperations
from coordinator.transports.rest.dispatch import Dispatcher
from coordinator.transports.rest.health import HealthOperations
from coordinator.transports.rest.ice_servers import NO_ICE, IceServerOperations, IceSettings
from coordinator.transports.rest.idempotency import Idempotency
from coordinator.transports.rest.metrics import MetricOperations, Metrics
from coordinator.transports.rest.operations import Answer, Call, Operation, Outcome, Tag
from coordinator.transports.rest.recordings import RecordingOperations
from coordinator.transports.rest.registrations import RegistrationOperations
from coordinator.transports.rest.sessions import SessionOperations
from coordinator.transports.rest.time_slots import TimeSlotOperations
from coordinator.transports.rest.users import UserOperations

_DISTRIBUTION = "conversation-coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """What the operations are done by."""

    offering: Offering
    booking: Booking
    reader: Reader
    moderation: Moderation
    recordings: Recordings
    consents: Consents


class RestApi:
    """Every operation of the HTTP API.

    Args:
        services: What does the work.
        tokens: Tells who presents a token.
        replies: Keeps the answers to requests with an `Idempotency-Key`.
        clock: Time.
        ids: Names what is made without a key.
        checks: What must answer for the process to be ready; each fails by `OutcomeUnknownError`.
        body_bytes: The longest body that is read.
        metrics: What this process counts.
        ice: What helps browsers to reach each other.
    """

    def __init__(
        self,
        services: ApiServices,
        *,
        tokens: TokenVerifier,
        replies: Replies,
        clock: Clock,
        ids: IdSource,
        checks: Mapping[str, Callable[[], Awaitable[object]]],
        body_bytes: int,
        metrics: Metrics,
        ice: IceSettings = NO_ICE,
    ) -> None:
        access = Access(tokens, services.reader)
        self.health = HealthOperations(checks)
        self._dispatcher = Dispatcher(access, Idempotency(replies, clock), ids, body_bytes)
        self.operations: list[Operation[Any, Any]] = [
            *TimeSlotOperations(services.offering, clock).operations(),
            *RegistrationOperations(services.booking).operations(),
            *UserOperations(services.booking, clock).operations(),
            *ConsentOperations(services.consents).operations(),
            *SessionOperations(services.reader, services.moderation, access).operations(),
            *RecordingOperations(services.recordings, access).operations(),
            *IceServerOperations(ice, clock).operations(),
            *self.health.operations(),
            *MetricOperations(metrics).operations(),
            *self._document_operations(),
        ]
        self._openapi_document = msgspec.json.encode(openapi.document(self.operations, version(_DISTRIBUTION)))
        self._asyncapi_document = msgspec.json.encode(asyncapi.document(version(_DISTRIBUTION)))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. The application needs `problems.problem_middleware`."""
        return [self._dispatcher.route(operation) for operation in self.operations]

    def _document_operations(self) -> list[Operation[Any, Any]]:
        return [
            Operation(
                method="GET",
                path="/openapi.json",
                name="getOpenApi",
                summary="Read this document",
                tag=Tag.SYSTEM,
                handler=self._openapi,
                parameters=Parameters,
                body=NoBody,
                roles=None,
                outcomes={HTTPStatus.OK: Outcome(meaning="An OpenAPI 3.1 document.", view=None)},
            ),
            Operation(
                method="GET",
                path="/asyncapi.json",
                name="getAsyncApi",
                summary="Read the like document of what goes over Socket.IO",
                tag=Tag.SYSTEM,
                handler=self._asyncapi,
                parameters=Parameters,
                body=NoBody,
                roles=None,
                outcomes={HTTPStatus.OK: Outcome(meaning="An AsyncAPI 3.0 document.", view=None)},
            ),
        ]

    async def _openapi(self, _call: Call[Parameters, NoBody]) -> Answer:
        """Read what every operation takes and answers, in the words of OpenAPI 3.1."""
        return Answer(content=self._openapi_document)

    async def _asyncapi(self, _call: Call[Parameters, NoBody]) -> Answer:
        """Read what goes over Socket.IO, in the words of AsyncAPI 3.0."""
        return Answer(content=self._asyncapi_document)
