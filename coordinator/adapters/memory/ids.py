"""Ids that tests can foretell. Owns the counter; must not know what the ids are for."""


class SequentialIds:
    """An `IdSource` that counts, ids and salts each from 1. Give each simulated node its own `prefix`.

    Args:
        prefix: Up to 12 hex digits that every id and every salt begins with.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._count = 0
        self._salts = 0

    def new_id(self) -> str:
        """Return the next id."""
        self._count += 1
        return self._prefix + format(self._count, "x").zfill(24 - len(self._prefix))

    def new_salt(self) -> str:
        """Return the next salt, which anyone can guess."""
        self._salts += 1
        return self._prefix + format(self._salts, "x").zfill(32 - len(self._prefix))
