"""Cursors as texts: what is written is read back, and nothing else is read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.cursors import (
    CURSOR_MAX_LENGTH,
    START,
    CatchUpCursor,
    Cursor,
    Position,
    StreamCursor,
    cursor_text,
    read_cursor,
)
from coordinator.domain.ids import SessionId

POSITIONS = st.from_regex(r"[A-Za-z0-9_-]{1,200}", fullmatch=True).map(Position)
SESSIONS = st.from_regex(r"[0-9a-f]{24}", fullmatch=True).map(SessionId)
SEQS = st.integers(0, 10**16 - 1)
CURSORS = st.one_of(
    st.builds(StreamCursor, POSITIONS),
    st.builds(StreamCursor, POSITIONS, SESSIONS, SEQS),
    st.builds(CatchUpCursor, POSITIONS, SESSIONS, SEQS),
)


@given(CURSORS)
def test_what_is_written_is_read_back(cursor: Cursor) -> None:
    text = cursor_text(cursor)
    assert read_cursor(text) == cursor
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", text), "it may stand in a URL as it is"


@given(CURSORS, CURSORS)
def test_different_places_have_different_texts(one: Cursor, other: Cursor) -> None:
    assert (cursor_text(one) == cursor_text(other)) is (one == other)


@given(st.text() | st.from_regex(r"[sc]\.[a-z0-9]*(\.[0-9a-f]{23,25}\.[0-9]{0,17})?.?", fullmatch=True))
def test_what_can_be_read_is_what_would_be_written(text: str) -> None:
    cursor = read_cursor(text)
    assert cursor is None or cursor_text(cursor) == text


def test_a_catch_up_begins_before_every_session() -> None:
    cursor = CatchUpCursor(Position("p"))
    assert (cursor.session_id, cursor.seq) == (START, 0)
    assert read_cursor(cursor_text(cursor)) == cursor
    assert min(START, SessionId("0" * 23 + "1")) == START


S = "0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s.",
        "s..",
        ".p",
        "t.p",
        "S.p",
        "s.p.",
        "s.p+q",
        "s.p=",
        "s.é",
        "s.p\n",
        " s.p",
        "c.p",
        f"s.p.{S}",
        f"s.p.{S}.",
        f"s.p.{S}.-1",
        f"s.p.{S}.01",
        f"s.p.{S}.1.2",
        f"s.p.{S}.10000000000000000",
        f"s.p.{S}.٣",
        f"s.p.{S[:-1]}.1",
        f"s.p.{S.upper()}.1",
        "s." + "p" * CURSOR_MAX_LENGTH,
    ],
)
def test_what_is_no_cursor_is_not_read(text: str) -> None:
    assert read_cursor(text) is None


def test_the_longest_cursor_is_read() -> None:
    text = "s." + "p" * (CURSOR_MAX_LENGTH - 2)
    assert cursor_text(read_cursor(text) or StreamCursor(Position("none"))) == text
