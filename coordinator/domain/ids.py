"""Identifiers. Owns their form; must not know how they are made (that needs randomness) or where they are stored."""

import hashlib
import re
from typing import NewType

SessionId = NewType("SessionId", str)
"""24 lower-case hex digits: the hex form of the session document's ObjectId."""
SlotId = NewType("SlotId", str)
"""24 lower-case hex digits: the hex form of the time slot document's ObjectId."""
CommitId = NewType("CommitId", str)
"""24 lower-case hex digits, made by the writer before the write, so that an unknown outcome can be looked up."""
UserId = NewType("UserId", str)
"""The `sub` claim of the user's token; opaque, 1 to 128 characters."""
NodeId = NewType("NodeId", str)
"""One run of one coordinator process; a restart gets a new one."""
ConnectionId = NewType("ConnectionId", str)
"""`<node id>-<number>`: one Socket.IO connection. Not a secret, and not the Engine.IO session id (which is one)."""

OBJECT_ID_PATTERN = "^[0-9a-f]{24}$"
"""Form of session, slot and commit ids on the wire."""
USER_ID_MAX_LENGTH = 128
"""Longest accepted `sub` claim, in characters."""

_OBJECT_ID = re.compile(OBJECT_ID_PATTERN)


def is_object_id(text: str) -> bool:
    """Tell whether `text` has the form of a session, slot or commit id."""
    return _OBJECT_ID.fullmatch(text) is not None


def connection_id(node: NodeId, number: int) -> ConnectionId:
    """Name the `number`-th connection that `node` accepted."""
    return ConnectionId(f"{node}-{number}")


def node_of(connection: ConnectionId) -> NodeId:
    """Return the node that holds `connection`: when that node dies, so does the connection."""
    return NodeId(connection.rpartition("-")[0])


def participant_id(session_id: SessionId, user_id: UserId) -> str:
    """Derive the id of a user's part in a session: the first 12 bytes of SHA-256(session id, 0, user id), as hex.

    Derived, so that there is one per (session, user), which repeated and rebuilt writes meet.
    """
    return hashlib.sha256(bytes.fromhex(session_id) + b"\0" + user_id.encode()).hexdigest()[:24]


def occurrence_id(series_id: SlotId, number: int) -> SlotId:
    """Derive the id of a series' slot: the series' own for number 0, else 12 bytes of SHA-256(series id, 0, number).

    Derived, so that nodes which make the same occurrence at the same time make one.
    """
    if number == 0:
        return series_id
    return SlotId(hashlib.sha256(bytes.fromhex(series_id) + b"\0" + str(number).encode()).hexdigest()[:24])
