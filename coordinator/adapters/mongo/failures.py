"""Which of the driver's errors mean that the outcome is unknown. Owns that list; must not know what was asked.

Everything else that the driver raises (a document that a validator refuses, a wrong password, a closed client) is a
mistake of a program or of its configuration. Repeating would not help, so it passes through unchanged.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    ProtocolError,
    PyMongoError,
    WriteConcernError,
)

from coordinator.ports.journal import OutcomeUnknownError

DUPLICATE_KEY = 11000

_TRANSIENT_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        24,  # LockTimeout
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        317,  # ConnectionPoolExpired
        365,  # TemporarilyUnavailable
        9001,  # SocketException
        10058,  # LegacyNotPrimary
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
"""Codes of a server that is going down, changing roles, overloaded or out of time."""


@contextmanager
def unanswered_is_unknown() -> Iterator[None]:
    """Turn every error of the driver after which nobody knows what the database did into `OutcomeUnknownError`."""
    try:
        yield
    except PyMongoError as error:
        if not leaves_outcome_unknown(error):
            raise
        raise OutcomeUnknownError(f"the database did not answer: {type(error).__name__}") from error


def leaves_outcome_unknown(error: PyMongoError) -> bool:
    """Tell whether, after `error`, what was asked may have been done, may not, and may still be."""
    if error.timeout or isinstance(error, ConnectionFailure | ProtocolError | ExecutionTimeout | WriteConcernError):
        return True
    if isinstance(error, BulkWriteError):
        details = error.details
        refusals = details.get("writeErrors", [])
        return bool(details.get("writeConcernErrors")) or any(item["code"] in _TRANSIENT_CODES for item in refusals)
    if isinstance(error, OperationFailure):
        return error.code in _TRANSIENT_CODES or error.has_error_label("RetryableWriteError")
    return False


def refused_duplicates(error: BulkWriteError) -> list[int]:
    """Return which operations of a bulk write met a document that was there before, by their index.

    Raises:
        BulkWriteError: The given one, unless nothing but duplicates went wrong.
    """
    refusals = error.details.get("writeErrors", [])
    if error.details.get("writeConcernErrors") or any(item["code"] != DUPLICATE_KEY for item in refusals):
        raise error
    return [item["index"] for item in refusals]
