"""How a resume token becomes a text and back, and what is not one."""

import random
import string
from typing import Any

import bson
import pytest
from bson.timestamp import Timestamp

from coordinator.adapters.mongo.positions import read_position, write_position
from coordinator.domain.cursors import CURSOR_MAX_LENGTH, Position, StreamCursor, cursor_text, read_cursor
from coordinator.ports.commit_stream import InvalidPositionError
from tests.contracts.making import new_session_id

HERE, ELSEWHERE = b"\x01" * 16, b"\x02" * 16
LETTERS = string.ascii_letters + string.digits + "-_"
# A token as MongoDB makes it, and one as the embedded server does.
LARGE = "8265A1B2C3000000012B042C0100296E5A1004" + "9F" * 16 + "463C5F6964003C" + "37" * 12 + "000004"
SMALL = bson.encode({"s": 77, "t": Timestamp(1, 2), "n": "conversation.events", "k": {"_id": bson.ObjectId()}}).hex()
TOKENS: list[dict[str, Any]] = [
    {"_data": LARGE},
    {"_data": SMALL},
    {"_data": ""},
    {"_data": "12345678"},
    {"_data": "Ab"},
    {"_data": "a b"},
    {"_data": "no hex"},
    {"_data": "abc"},
    {"_data": 5},
    {"_data": LARGE, "_typeBits": b"\x01"},
    {"something": {"else": [1, 2, 3]}},
    {},
]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_the_same_after_writing_and_reading(token: dict[str, Any]) -> None:
    position = write_position(token, HERE)
    assert set(position) <= set(LETTERS)
    assert read_position(position, HERE) == token


@pytest.mark.parametrize("data", [LARGE, SMALL])
def test_what_servers_give_is_written_shorter_and_fits_into_a_cursor(data: str) -> None:
    position = write_position({"_data": data}, HERE)
    assert len(position) < 0.75 * len(data)
    cursor = StreamCursor(position, new_session_id(), 10**15)
    assert read_cursor(cursor_text(cursor)) == cursor
    assert len(cursor_text(cursor)) < CURSOR_MAX_LENGTH / 2


@pytest.mark.parametrize("token", TOKENS)
def test_any_other_letter_anywhere_is_noticed(token: dict[str, Any]) -> None:
    dice = random.Random(1)
    position = write_position(token, HERE)
    for index, letter in enumerate(position):
        other = dice.choice([item for item in LETTERS if item != letter])
        for tampered in (f"{position[:index]}{other}{position[index + 1 :]}", position[:index] + position[index + 1 :]):
            if tampered != position:
                with pytest.raises(InvalidPositionError):
                    read_position(Position(tampered), HERE)


@pytest.mark.parametrize("token", TOKENS)
def test_a_position_is_good_for_one_stream_only(token: dict[str, Any]) -> None:
    with pytest.raises(InvalidPositionError):
        read_position(write_position(token, ELSEWHERE), HERE)


@pytest.mark.parametrize(
    "text", ["", " ", "H", "h", "b", "HAAAAAAAA", "bAAAAAAAA", "xAAAAAAAAAAAA", "h====", "hé", "h" + "A" * 5000, "\n"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidPositionError):
        read_position(Position(text), HERE)
