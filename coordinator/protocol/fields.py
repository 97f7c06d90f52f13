"""The fields that requests and answers over HTTP are made of: their form, their words, their examples (SPEC section 4).

Owns what a single value must be, in one place for the check and for the OpenAPI document. `must_be` says in a refusal
what would be right; JSON Schema has no use for it, so it does not stand in the document.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from coordinator.domain.ids import OBJECT_ID_PATTERN, USER_ID_MAX_LENGTH
from coordinator.domain.model import Language, Level, Recurrence
from coordinator.domain.slots import SEATS_LEAST, SEATS_MOST

INSTANT_PATTERN = (
    r"^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
"""RFC 3339 section 5.6. There is no year 0; a space for the T, which it also allows, is not taken."""
ENTITY_TAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
"""RFC 9110 section 13.1.1: anything, or entity tags. Ours are ASCII, so others are not looked for."""
URL_PATTERN = r"^https://[^\s]+(?!\s)$"
CURSOR_MOMENT_DIGITS = 13
"""Hexadecimal digits that hold every instant of the years 1 to 9999 in milliseconds."""
CURSOR_SEQ_DIGITS = 14
"""Hexadecimal digits that hold every `seq`."""

_MOMENT = "2040-06-04T17:00:00.000Z"
_ID = "66f1c0ffee5e5510c0ffee01"
_URL = "https://recordings.example.r2.cloudflarestorage.com/ada.webm"

ObjectId = Annotated[
    str,
    Meta(
        pattern=OBJECT_ID_PATTERN,
        min_length=24,
        max_length=24,
        examples=[_ID],
        extra_json_schema={"format": "objectid"},
        extra={"must_be": "24 lower-case hexadecimal digits"},
    ),
]
UserIdText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=USER_ID_MAX_LENGTH,
        description="A user: the `sub` of its token.",
        examples=["ada"],
        extra={"must_be": f"a text of 1 to {USER_ID_MAX_LENGTH} characters"},
    ),
]
Instant = Annotated[
    datetime,
    Meta(
        tz=True,
        examples=["2040-06-04T19:00:00+02:00"],
        extra_json_schema={"pattern": INSTANT_PATTERN},
        extra={"must_be": "a time with its offset, such as 2040-06-04T17:00:00Z (in a query, write + as %2B)"},
    ),
]
"""An instant that a client gives: RFC 3339 with an offset. It is taken in UTC, cut to milliseconds."""
Timestamp = Annotated[str, Meta(examples=[_MOMENT], extra_json_schema={"format": "date-time"})]
"""An instant that a client gets: RFC 3339 in UTC, with milliseconds and `Z`."""

LanguageCode = Annotated[Language, Meta(description="The language that is practised.")]
LevelCode = Annotated[Level, Meta(description="CEFR level.")]
StartTime = Annotated[
    Instant,
    Meta(description="When it starts; in the future. Digits after the milliseconds are cut off."),
]
DurationMinutes = Annotated[Literal[15, 30, 45], Meta(description="How long it lasts, in minutes.", examples=[30])]
MaxParticipants = Annotated[int, Meta(ge=SEATS_LEAST, le=SEATS_MOST, description="Seats.", examples=[8])]
MinParticipants = Annotated[
    int,
    Meta(
        ge=SEATS_LEAST,
        le=SEATS_MOST,
        description="Present participants that it takes to start; at most `maxParticipants`.",
        examples=[2],
    ),
]
RecurrenceRule = Annotated[Recurrence, Meta(description="How it repeats, at the same wall-clock time in `timezone`.")]
TimeZoneName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="IANA name of the time zone whose wall-clock time the slot keeps.",
        examples=["Europe/Paris"],
        extra_json_schema={"format": "iana-timezone"},
        extra={"must_be": "an IANA time zone such as Europe/Paris"},
    ),
]
IsActive = Annotated[bool, Meta(description="False once it is withdrawn.", examples=[True])]
RecordingUrl = Annotated[
    str,
    Meta(
        pattern=URL_PATTERN,
        max_length=2048,
        description="Where the recording lies, on an allowed host.",
        examples=[_URL],
        extra_json_schema={"format": "uri"},
        extra={"must_be": "an https:// URL of at most 2048 characters"},
    ),
]
IdCursor = Annotated[
    str,
    Meta(
        pattern=OBJECT_ID_PATTERN,
        min_length=24,
        max_length=24,
        description="The `next` of the page before. Opaque.",
        extra={"must_be": "the `next` of a page of this list"},
    ),
]
"""Where a list that is ordered by id goes on."""
MomentCursor = Annotated[
    str,
    Meta(
        pattern=f"^[0-9a-f]{{{CURSOR_MOMENT_DIGITS + 24}}}$",
        min_length=CURSOR_MOMENT_DIGITS + 24,
        max_length=CURSOR_MOMENT_DIGITS + 24,  # `$` alone would also let a line break follow
        description="The `next` of the page before. Opaque.",
        extra={"must_be": "the `next` of a page of this list"},
    ),
]
"""Where a list that is ordered by an instant, and then by id, goes on."""
ConsentCursor = Annotated[
    str,
    Meta(
        pattern=f"^[0-9a-f]{{{24 + CURSOR_SEQ_DIGITS}}}$",
        min_length=24 + CURSOR_SEQ_DIGITS,
        max_length=24 + CURSOR_SEQ_DIGITS,
        description="The `next` of the page before. Opaque.",
        extra={"must_be": "the `next` of a page of this list"},
    ),
]
"""Where a list that is ordered by session, and then by `seq`, goes on."""
Limit = Annotated[int, Meta(ge=1, le=200, description="How many items at most.", examples=[50])]
Next = Annotated[str, Meta(description="The `cursor` of the following page; only where there is one.")]
IdempotencyKey = Annotated[
    str,
    Meta(
        pattern="^[!-~]+$",
        min_length=1,
        max_length=255,
        description=(
            "Makes the request safe to repeat for a day: under the same key the same request gets the same answer, "
            "and does nothing again. A new key for each new request; a UUID will do. One that was refused has not used "
            "up its key."
        ),
        extra={"must_be": "1 to 255 visible ASCII characters, given once"},
    ),
]
IfMatch = Annotated[
    str,
    Meta(
        pattern=ENTITY_TAGS_PATTERN,
        max_length=1024,
        description=(
            "Change the slot only if it still is of this version: the `ETag` with which it was last answered, "
            "or several, or `*`. Another version is refused with 412, and nothing changes."
        ),
        examples=["*"],
        extra={"must_be": '*, or entity tags such as "18f3a6b2c00", with their quotation marks'},
    ),
]
