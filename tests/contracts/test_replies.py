"""The port `Replies`, sentence by sentence, over every backend."""

import asyncio

from coordinator.ports.replies import Remembered, Replies, Reply
from tests.contracts.making import MOMENT, NOON

REPLY = Reply(
    status=201,
    headers={"Content-Type": "application/json", "Location": "/api/v1/time-slots/1", "X.odd$name": "", "ETag": '"1"'},
    body=b'{"name":"cl\xc3\xa9o"}\x00\xff',
)


async def test_the_first_request_under_a_key_is_new(replies: Replies) -> None:
    assert await replies.remember("key", "fingerprint", NOON) is None
    assert await replies.remember("another key", "fingerprint", NOON) is None


async def test_a_repeated_request_meets_the_one_that_came_before(replies: Replies) -> None:
    await replies.remember("key", "first", NOON)
    for fingerprint in ("first", "second"):
        assert await replies.remember("key", fingerprint, NOON + MOMENT) == Remembered(fingerprint="first")


async def test_a_repeated_request_meets_the_reply(replies: Replies) -> None:
    await replies.remember("key", "first", NOON)
    await replies.keep("key", REPLY)
    for fingerprint in ("first", "second"):
        remembered = await replies.remember("key", fingerprint, NOON + MOMENT)
        assert remembered == Remembered(fingerprint="first", reply=REPLY)


async def test_a_reply_may_be_empty(replies: Replies) -> None:
    empty = Reply(status=204, headers={}, body=b"")
    await replies.remember("key", "fingerprint", NOON)
    await replies.keep("key", empty)
    assert await replies.remember("key", "fingerprint", NOON) == Remembered(fingerprint="fingerprint", reply=empty)


async def test_each_key_has_its_own_reply(replies: Replies) -> None:
    other = Reply(status=422, headers={}, body=b"no")
    for key, reply in (("one", REPLY), ("two", other), ("three", None)):
        await replies.remember(key, f"of {key}", NOON)
        if reply is not None:
            await replies.keep(key, reply)
    assert await replies.remember("one", "again", NOON) == Remembered(fingerprint="of one", reply=REPLY)
    assert await replies.remember("two", "again", NOON) == Remembered(fingerprint="of two", reply=other)
    assert await replies.remember("three", "again", NOON) == Remembered(fingerprint="of three")


async def test_the_reply_to_a_request_that_is_forgotten_is_not_kept(replies: Replies) -> None:
    await replies.keep("key", REPLY)
    assert await replies.remember("key", "fingerprint", NOON) is None


async def test_among_simultaneous_requests_one_is_new(replies: Replies) -> None:
    outcomes = await asyncio.gather(*(replies.remember("key", f"{number}", NOON) for number in range(30)))
    assert outcomes.count(None) == 1
    first = Remembered(fingerprint=f"{outcomes.index(None)}")
    assert all(outcome in (None, first) for outcome in outcomes)


async def test_a_key_that_is_released_makes_room_for_another(replies: Replies) -> None:
    await replies.remember("key", "first", NOON)
    await replies.remember("another key", "first", NOON)
    for _ in range(2):
        await replies.release("key")
    assert await replies.remember("key", "second", NOON) is None
    assert await replies.remember("another key", "second", NOON) == Remembered(fingerprint="first")


async def test_the_key_of_what_has_been_answered_is_not_released(replies: Replies) -> None:
    await replies.remember("key", "first", NOON)
    await replies.keep("key", REPLY)
    await replies.release("key")
    assert await replies.remember("key", "first", NOON) == Remembered(fingerprint="first", reply=REPLY)
