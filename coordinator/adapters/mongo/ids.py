"""Ids as MongoDB makes them. Owns nothing but the choice of ObjectId; must not know what the ids are for."""

from bson import ObjectId


class ObjectIds:
    """An `IdSource`: ObjectIds, unlike on any node because each process starts from a random value and a time."""

    def new_id(self) -> str:
        """Return 24 lower-case hex digits, never the same twice on any node."""
        return str(ObjectId())
