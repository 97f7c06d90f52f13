"""One byte changed in a commit as MongoDB keeps it: whatever still is a document is found, and named by its `seq`."""

import bson
import pytest
from bson.errors import InvalidBSON

from coordinator.adapters.mongo.commit_documents import commit_document, stored_commit
from coordinator.domain.ledger import Commit, find_flaws
from tests.domain.story import (
    ANNA,
    BEN,
    SESSION,
    attach,
    consent,
    media,
    minutes,
    remove,
    running,
)

MASKS = (1, 2, 12, 128, 255)
"""What a byte is changed by. 12 makes a symbol of a text, which drivers read alike."""


def log() -> list[Commit]:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA])
    story.given(consent(BEN, "2030-01"), attach(ANNA, minutes(1)), media(BEN, mic=True), at=minutes(2))
    return story.given(remove(BEN, "be kind"), at=minutes(3)).sealed()


WRITTEN = [bson.encode(commit_document(item)) for item in log()]


def flaws_with(place: int, written: bytes) -> list[int]:
    stored = [stored_commit(item) for item in (*WRITTEN[:place], written, *WRITTEN[place + 1 :])]
    return [flaw.seq for flaw in find_flaws(SESSION, stored)]


def test_what_was_written_is_sound() -> None:
    assert flaws_with(0, WRITTEN[0]) == []
    assert sum(map(len, WRITTEN)) > 3000


@pytest.mark.parametrize("place", range(len(WRITTEN)))
def test_one_changed_byte_is_found(place: int) -> None:
    genuine = WRITTEN[place]
    seq = log()[place].seq
    found = 0
    for position in range(len(genuine)):
        for mask in MASKS:
            altered = bytearray(genuine)
            altered[position] ^= mask
            try:
                keys = bson.decode(altered).keys()
            except (InvalidBSON, UnicodeDecodeError, OverflowError):
                continue  # no database keeps this: it is no document
            if "_id" not in keys:
                continue  # nor this
            flaws = flaws_with(place, bytes(altered))
            assert flaws, (position, mask)
            names_another_place = altered[4 : altered.index(b"at\0") + 1] != genuine[4 : genuine.index(b"at\0") + 1]
            assert names_another_place or flaws[0] == seq, (position, mask)
            found += 1
    assert found > len(genuine)
