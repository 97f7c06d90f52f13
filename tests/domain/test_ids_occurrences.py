"""The ids of occurrences are part of what is stored: they must never come out differently."""

import pytest

from coordinator.domain.ids import SlotId, is_object_id, occurrence_id

SERIES = SlotId("aaaaaaaaaaaaaaaaaaaaaaaa")
OTHER = SlotId("65f1c0ffee0123456789abcd")


def test_the_first_occurrence_is_the_slot_that_was_offered() -> None:
    assert occurrence_id(SERIES, 0) == SERIES


@pytest.mark.parametrize(
    ("series", "number", "expected"),
    [
        # Worked out with openssl: SHA-256 of the id's 12 bytes, a zero byte and the number in decimal.
        (SERIES, 1, "48249a38202135d0c37aaa9d"),
        (SERIES, 2, "29b6f78bf888799010e220c8"),
        (SERIES, 14, "2a88b682c9eb3c587c5baf97"),
        (SERIES, 100, "d2b36601071d585ff5b47222"),
        (OTHER, 1, "f1a16909bdb5936796dd0090"),
        (OTHER, 2, "cdee6514bcd683a93020fd2a"),
    ],
)
def test_later_occurrences_have_ids_that_anybody_can_work_out(series: SlotId, number: int, expected: str) -> None:
    assert occurrence_id(series, number) == expected


def test_no_two_occurrences_share_an_id() -> None:
    ids = [occurrence_id(series, number) for series in (SERIES, OTHER) for number in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(map(is_object_id, ids))
