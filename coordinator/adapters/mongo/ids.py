"""Ids as MongoDB makes them, salts as the system does. Owns these choices; must not know what they are for."""

import secrets

from bson import ObjectId


class ObjectIds:
    """An `IdSource`: ObjectIds, unlike on any node because each process starts from a random value and a time."""

    def new_id(self) -> str:
        """Return 24 lower-case hex digits, never the same twice on any node."""
        return str(ObjectId())

    def new_salt(self) -> str:
        """Return 32 lower-case hex digits from the system's source of secrets."""
        return secrets.token_hex(16)
