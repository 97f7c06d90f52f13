"""Who asks, and who may (SPEC section 4)."""

from aiohttp import web

from coordinator.domain.errors import ForbiddenError, UnauthenticatedError
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.ports.identity import Identity, TokenVerifier
from coordinator.services.reader import Reader


class Access:
    """Authentication, and the rules of who may do what."""

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


def check_role(identity: Identity, allowed: frozenset[Role]) -> None:
    """Check that a token's role may do something.

    Raises:
        ForbiddenError: It may not.
    """
    if identity.role not in allowed:
        raise ForbiddenError(f"this takes the role {' or '.join(sorted(allowed))}; yours is {identity.role}")


def check_acts_for(identity: Identity, user_id: UserId) -> None:
    """Let participants act for, and look after, nobody but themselves.

    Raises:
        ForbiddenError: The participant is another user.
    """
    if identity.role is Role.PARTICIPANT and identity.user_id != user_id:
        raise ForbiddenError("a participant acts only for itself")


def only_own(identity: Identity) -> UserId | None:
    """Return whose recordings somebody is shown: a participant its own, everyone else all (None)."""
    return identity.user_id if identity.role is Role.PARTICIPANT else None
