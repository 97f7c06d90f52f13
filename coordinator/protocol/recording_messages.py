"""What recorders may send on `/recording` (SPEC section 3)."""

from typing import Annotated

from msgspec import Meta

from coordinator.domain.cursors import CURSOR_MAX_LENGTH
from coordinator.protocol.fields import ObjectId
from coordinator.protocol.messages import Message
from coordinator.protocol.requests import NewRecording

CursorText = Annotated[str, Meta(min_length=1, max_length=CURSOR_MAX_LENGTH)]
ConsumerName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}(?!\s)$", description="1 to 64 letters, digits, `.`, `_` or `-`.")
]


class Subscribe(Message, frozen=True, kw_only=True):
    """Read the feed under a name: from after what was acked last, or from after `after`: a cursor, or "beginning"."""

    consumer: ConsumerName
    after: CursorText | None = None


class Ack(Message, frozen=True, kw_only=True):
    """Say that everything up to `cursor` is done with."""

    cursor: CursorText


class AttachRecording(NewRecording, frozen=True, kw_only=True):
    """Attach a recording of a participant, as over HTTP."""

    session_id: ObjectId
