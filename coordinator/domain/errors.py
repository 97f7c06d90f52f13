"""The closed registry of failures: code, HTTP status, whether repeating may help (SPEC section 4, error codes).

    CoordinatorError
     +- UnauthenticatedError            unauthenticated            401
     +- ForbiddenError                  forbidden                  403
     +- NotFoundError                   not_found                  404
     +- InvalidRequestError             invalid_request            422  (names the field)
     |   +- StaleVersionError           invalid_request            412
     +- SlotFullError                   slot_full                  409
     +- SlotInactiveError               slot_inactive              409
     +- SlotOverError                   slot_over                  409
     +- OverlappingRegistrationError    overlapping_registration   409
     +- NotRegisteredError              not_registered             403
     +- SessionNotOpenError             session_not_open           409
     +- SessionEndedError               session_ended              409
     +- RoomFullError                   room_full                  409
     +- RemovedError                    removed                    403
     +- NotInSessionError               not_in_session             409
     +- RecordingNotPermittedError      recording_not_permitted    409
     +- PayloadTooLargeError            payload_too_large          413
     +- RateLimitedError                rate_limited               429  retryable
     +- UnavailableError                unavailable                503  retryable

Raised anywhere, translated once at each edge. Raising one never leaves anything changed.
"""

from typing import ClassVar


class CoordinatorError(Exception):
    """A refusal that a caller is told about.

    Attributes:
        code: The stable code on the wire.
        status: The HTTP status that goes with it.
        retryable: Whether repeating the same request may succeed.
        field: The field of the request that is wrong, where there is one.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class UnauthenticatedError(CoordinatorError):
    """The token is missing, malformed, expired or not ours."""

    code, status = "unauthenticated", 401


class ForbiddenError(CoordinatorError):
    """The token is good, but its role or user may not do this."""

    code, status = "forbidden", 403


class NotFoundError(CoordinatorError):
    """No such thing."""

    code, status = "not_found", 404


class InvalidRequestError(CoordinatorError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code, status = "invalid_request", 422


class StaleVersionError(InvalidRequestError):
    """`If-Match` names another version than the present one: somebody else was faster. Only over HTTP."""

    status = 412


class SlotFullError(CoordinatorError):
    """Every seat of the slot is taken."""

    code, status = "slot_full", 409


class SlotInactiveError(CoordinatorError):
    """The slot has been deactivated."""

    code, status = "slot_inactive", 409


class SlotOverError(CoordinatorError):
    """The slot's time has passed."""

    code, status = "slot_over", 409


class OverlappingRegistrationError(CoordinatorError):
    """The user is registered for another slot at that time."""

    code, status = "overlapping_registration", 409


class NotRegisteredError(CoordinatorError):
    """The user is not registered for the session's slot."""

    code, status = "not_registered", 403


class SessionNotOpenError(CoordinatorError):
    """The session has not been opened yet."""

    code, status = "session_not_open", 409


class SessionEndedError(CoordinatorError):
    """The session is over, for good."""

    code, status = "session_ended", 409


class RoomFullError(CoordinatorError):
    """Every seat is taken, held seats of disconnected users included."""

    code, status = "room_full", 409


class RemovedError(CoordinatorError):
    """A moderator removed the user from this session."""

    code, status = "removed", 403


class NotInSessionError(CoordinatorError):
    """The user is not present in the session."""

    code, status = "not_in_session", 409


class RecordingNotPermittedError(CoordinatorError):
    """The user could not be recorded at that time, or the recording lies where it must not."""

    code, status = "recording_not_permitted", 409


class PayloadTooLargeError(CoordinatorError):
    """The message exceeds a size limit."""

    code, status = "payload_too_large", 413


class RateLimitedError(CoordinatorError):
    """Too many requests, or too many connections."""

    code, status, retryable = "rate_limited", 429, True


class UnavailableError(CoordinatorError):
    """The database is out of reach or cannot keep up; repeating finds out or does it."""

    code, status, retryable = "unavailable", 503, True


def _registry() -> dict[str, type[CoordinatorError]]:
    return {cls.code: cls for cls in CoordinatorError.__subclasses__()}


ERRORS: dict[str, type[CoordinatorError]] = _registry()
"""Every error by its code."""
