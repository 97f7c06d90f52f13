"""Where a consumer of the feed stands (SPEC section 3, `/recording`): what a cursor means, and how it is written.

Owns the text form, which clients keep and send back. A position is a place in the order in which the store made commits
durable; only the store can read it. Pure values: nothing here reads anything.
"""

import re
from typing import NewType

import msgspec

from coordinator.domain.ids import SessionId

Position = NewType("Position", str)
"""A place in the stream of all commits, in the store's own words: URL-safe base64 letters, without a dot."""

CURSOR_MAX_LENGTH = 1024
"""Characters of a cursor at most."""
START = SessionId("0" * 24)
"""Comes before every session in the order in which a catch-up goes through them."""

_TEXT = re.compile(
    r"(?P<kind>[sc])\.(?P<position>[A-Za-z0-9_-]+)(?:\.(?P<session>[0-9a-f]{24})\.(?P<seq>0|[1-9][0-9]{0,15}))?"
)


class StreamCursor(msgspec.Struct, frozen=True):
    """The stream after `position`, where of `session_id`, if there is one, everything up to `seq` is done already.

    The last event of a commit needs no session: its commit's own position says it all. Any other names the position of
    the commit before, because a stream can only go on after a whole commit.
    """

    position: Position
    session_id: SessionId | None = None
    seq: int = 0


class CatchUpCursor(msgspec.Struct, frozen=True):
    """The journal, session by session in order of their ids; then the stream after `position`.

    Done are the sessions before `session_id`, and of that session everything up to `seq`.
    """

    position: Position
    session_id: SessionId = START
    seq: int = 0


Cursor = StreamCursor | CatchUpCursor


def cursor_text(cursor: Cursor) -> str:
    """Write a cursor."""
    kind = "s" if isinstance(cursor, StreamCursor) else "c"
    place = "" if cursor.session_id is None else f".{cursor.session_id}.{cursor.seq}"
    return f"{kind}.{cursor.position}{place}"


def read_cursor(text: str) -> Cursor | None:
    """Read a cursor; None if it is not one."""
    match = _TEXT.fullmatch(text) if len(text) <= CURSOR_MAX_LENGTH else None
    if match is None or (match["kind"] == "c" and match["session"] is None):
        return None
    position = Position(match["position"])
    seq = int(match["seq"] or 0)
    if match["kind"] == "c":
        return CatchUpCursor(position, SessionId(match["session"]), seq)
    return StreamCursor(position, SessionId(match["session"]) if match["session"] else None, seq)
