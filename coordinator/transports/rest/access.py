"""Who asks, and what the request says (SPEC section 4)."""

from aiohttp import web

from coordinator.domain.errors import ForbiddenError, InvalidRequestError, NotFoundError, UnauthenticatedError
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, is_object_id
from coordinator.ports.identity import Identity, TokenVerifier
from coordinator.protocol.messages import MAX_SEQ
from coordinator.services.reader import Reader


class Access:
    """Authentication and the rules of who may read what."""

    def __init__(self, tokens: TokenVerifier, reader: Reader) -> None:
        self._tokens = tokens
        self._reader = reader

    def identify(self, request: web.Request) -> Identity:
        """Return who asks.

        Raises:
            UnauthenticatedError: There is no valid bearer token.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError("the header Authorization must carry: Bearer <token>")
        return self._tokens.verify(token.strip())

    async def check_may_see(self, identity: Identity, session_id: SessionId) -> None:
        """Let participants see the sessions they are registered for or have been in; everyone else sees all.

        Raises:
            ForbiddenError: The participant has no part in it.
            NotFoundError: There is no such session.
        """
        if identity.role is Role.PARTICIPANT and not await self._reader.took_part(session_id, identity.user_id):
            raise ForbiddenError("you have no part in this session")


def session_id_of(request: web.Request) -> SessionId:
    """Return the session id of the path.

    Raises:
        NotFoundError: It has not the form of one, so there can be no such session.
    """
    text = request.match_info["session_id"]
    if not is_object_id(text):
        raise NotFoundError(f"there is no session {text[:40]!r}: an id has 24 hexadecimal digits")
    return SessionId(text)


def integer_of(request: web.Request, name: str, default: int, least: int, most: int = MAX_SEQ) -> int:
    """Return an integer of the query.

    Raises:
        InvalidRequestError: It is not an integer, out of range, or given more than once.
    """
    values = request.query.getall(name, [])
    if not values:
        return default
    try:
        value = int(values[0]) if values[0].isascii() and len(values) == 1 else None
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise InvalidRequestError(f"{name}: must be an integer from {least} to {most}", field=name)
    return value


def check_query(request: web.Request, *known: str) -> None:
    """Refuse query parameters that this address does not know.

    Raises:
        InvalidRequestError: There is one.
    """
    for name in request.query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise InvalidRequestError(f"{name[:40]}: unknown parameter; known: {allowed}", field=name[:40])
