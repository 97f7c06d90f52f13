"""Who is asking, and how new names are made."""

from datetime import datetime
from typing import Protocol

import msgspec

from coordinator.domain.events import Actor, Role
from coordinator.domain.ids import UserId


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A verified token: the user, its role, and when it stops being valid (aware UTC)."""

    user_id: UserId
    role: Role
    expires_at: datetime

    @property
    def actor(self) -> Actor:
        """The identity as the actor of events."""
        return Actor(user_id=self.user_id, role=self.role)


class TokenVerifier(Protocol):
    """Tells who presents a token (SPEC section 4, tokens)."""

    def verify(self, token: str) -> Identity:
        """Verify signature, algorithm, times, issuer and audience.

        Raises:
            UnauthenticatedError: Anything about the token is not as it must be.
        """


class IdSource(Protocol):
    """Makes ids that nobody has made before, and salts that nobody can guess."""

    def new_id(self) -> str:
        """Return 24 lower-case hex digits, never the same twice on any node."""

    def new_salt(self) -> str:
        """Return 32 lower-case hex digits, 128 random bits that nobody can foretell (see `domain.pseudonyms`)."""
