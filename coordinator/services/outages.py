"""What a caller is told when the database does not answer: `unavailable`, and that repeating may help."""

from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.domain.errors import UnavailableError
from coordinator.ports.journal import OutcomeUnknownError


@contextmanager
def silence_is_unavailable() -> Iterator[None]:
    """Turn a store's silence into `UnavailableError`: the outcome will be found by repeating."""
    try:
        yield
    except OutcomeUnknownError as error:
        raise UnavailableError("the database is out of reach; try again") from error
