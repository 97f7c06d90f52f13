"""Serves operations: the one way from a request to its handler and back.

Owns the order of the checks: token, role, parameters and body, and only then whether there is such a thing.
"""

from typing import Any

from aiohttp import hdrs, web

from coordinator.ports.identity import Identity, IdSource
from coordinator.ports.replies import Reply
from coordinator.protocol.reading import given
from coordinator.protocol.requests import Repeatable
from coordinator.protocol.views import encode_view
from coordinator.transports.rest.access import Access, check_role
from coordinator.transports.rest.idempotency import Idempotency, keyed_request
from coordinator.transports.rest.incoming import read_body, read_parameters
from coordinator.transports.rest.operations import CONTENT_TYPE, Answer, Call, Operation
from coordinator.transports.rest.problems import respond


class Dispatcher:
    """Makes aiohttp routes of operations.

    Args:
        access: Tells who asks.
        idempotency: Answers repeated requests.
        ids: Names new things.
        body_bytes: The longest body that is read.
    """

    def __init__(self, access: Access, idempotency: Idempotency, ids: IdSource, body_bytes: int) -> None:
        self._access = access
        self._idempotency = idempotency
        self._ids = ids
        self._body_bytes = body_bytes

    def route(self, operation: Operation[Any, Any]) -> web.RouteDef:
        """Return the route of an operation."""

        async def serve(request: web.Request) -> web.Response:
            reply = await self._reply(operation, request)
            return respond(reply.status, reply.body, reply.headers)

        # The router's own pattern for a parameter would leave out braces, which a user id may have.
        path = operation.path.replace("}", ":[^/]+}")
        if operation.method == hdrs.METH_GET:
            return web.get(path, serve)  # and HEAD
        return web.route(operation.method, path, serve)

    async def _reply(self, operation: Operation[Any, Any], request: web.Request) -> Reply:
        if operation.roles is None:
            return await _run(operation, None, operation.parameters(), operation.body(), new_id="")
        identity = self._access.identify(request)
        check_role(identity, operation.roles)
        parameters = read_parameters(request, operation)
        if operation.takes_body:
            body = await read_body(request, operation.body, self._body_bytes, required=operation.body_required)
        else:
            body = operation.body()
        key = given(parameters.idempotency_key) if isinstance(parameters, Repeatable) else None
        if key is None:
            return await _run(operation, identity, parameters, body, self._ids.new_id())
        keyed = keyed_request(identity.user_id, operation.method, request.path, key, body)
        return await self._idempotency.once(keyed, lambda: _run(operation, identity, parameters, body, keyed.new_id))


async def _run(
    operation: Operation[Any, Any], identity: Identity | None, parameters: Any, body: Any, new_id: str
) -> Reply:
    call = Call(caller=identity, parameters=parameters, body=body, new_id=new_id)
    answer: Answer = await operation.handler(call)
    content = answer.content if isinstance(answer.content, bytes) else encode_view(answer.content)
    content_type = operation.outcomes[answer.status].content_type
    return Reply(status=answer.status, headers={**answer.headers, CONTENT_TYPE: content_type}, body=content)
