"""One connection to one Redis: commands go out, answers come back in order, and messages come in between.

Owns the bytes and whether the other side is still there. Must not know what is said on it.

Messages are taken where they arrive, without a task or a stream between. At 2 000 a second, the driver's own connection
takes more than twice as long for each (29 µs instead of 12, decoding not included).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from coordinator.ports.bus import BusOutOfReachError

PING_SECONDS = 0.5
"""How often it is looked whether anything was heard; if nothing was, the other side is asked whether it is there."""
ANSWER_SECONDS = 2.0
"""How long it may take to answer, or to accept a connection."""
NO_ANSWER = f"has not answered for {ANSWER_SECONDS:g} s"

_TOO_OLD = "is too old, or no Redis at all: version 6 or newer is needed"
_MORE = object()

# The stub of the library declares a tuple of one.
_pack = cast("Callable[[tuple[bytes | str, ...]], bytes]", hiredis.pack_command)


def pack(*words: bytes | str) -> bytes:
    """Write a command as it is sent."""
    return _pack(words)


PING = pack("PING")


class Link(asyncio.Protocol):
    """One connection, which speaks RESP3.

    Args:
        where: Host and port, or path, for messages.
        pushed: Takes what comes unasked: messages, and confirmations of subscriptions.
    """

    def __init__(self, where: str, pushed: Callable[[list[Any]], None]) -> None:
        self.where = where
        self._pushed = pushed
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._awaited: deque[_Awaited] = deque()
        self._heard = 0
        self._failure: str | None = None
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)
        if self._failure is not None:  # given up while it was being made
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; called by the event loop."""
        self._heard += 1
        self._reader.feed(data)
        try:
            while self._failure is None and (reply := self._reader.gets()) is not _MORE:
                if type(reply) is hiredis.PushNotification:
                    self._pushed(reply)
                elif type(reply) is hiredis.ReplyError:
                    # Nothing that is sent here may be refused: what is refused once will be refused again.
                    self.fail(_explained(str(reply)))
                else:
                    self._answered(reply)
        except hiredis.ProtocolError:
            self.fail("does not speak the protocol of Redis")

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the event loop."""
        self.fail("has closed the connection" if exc is None else f"is out of reach: {exc}")
        self._transport = None
        self._ended.set_result(None)

    def write(self, data: bytes) -> None:
        """Send commands that have no answer in turn; what is confirmed to them is pushed. Lost if the link is."""
        if self._failure is None and self._transport is not None:
            self._transport.write(data)

    def ask(self, data: bytes, answers: int = 1) -> "asyncio.Future[Any]":
        """Send commands.

        Args:
            data: The commands.
            answers: How many there are.

        Returns:
            The last answer. Fails by `BusOutOfReachError` when the link does.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._failure is None:
            self._awaited.append(_Awaited(answers, future))
            self.write(data)
        else:
            future.set_exception(self.error())
        return future

    async def answer(self, data: bytes) -> Any:
        """Send one command, and wait for its answer.

        Raises:
            BusOutOfReachError: There is none within `ANSWER_SECONDS`.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.ask(data)
        except TimeoutError:
            raise BusOutOfReachError(f"Redis at {self.where} {NO_ANSWER}") from None

    async def watch(self) -> None:
        """Make sure that the other side is there, until it is not.

        Raises:
            BusOutOfReachError: It is not there any more; always, sooner or later.
        """
        while True:
            heard = self._heard
            await asyncio.wait([self._ended], timeout=PING_SECONDS)
            if self._failure is not None:
                raise self.error()
            if self._heard == heard:
                await self._ping(heard)

    def fail(self, reason: str) -> None:
        """Give the link up; only the first reason counts. The other side is not told more than that."""
        if self._failure is not None:
            return
        self._failure = reason
        for awaited in self._awaited:
            if not awaited.answer.done():
                awaited.answer.set_exception(self.error())
        self._awaited.clear()
        if self._transport is not None:
            self._transport.abort()

    def error(self) -> BusOutOfReachError:
        """Return the error that says why the link failed."""
        return BusOutOfReachError(f"Redis at {self.where} {self._failure}")

    async def close(self) -> None:
        """Give the link up, and wait until nothing is left of it."""
        self.fail("was let go of")
        if self._transport is not None:
            # At the next turn of the event loop; whatever else may happen, nobody who stops is kept from stopping.
            await asyncio.wait([self._ended], timeout=ANSWER_SECONDS)

    def disown(self) -> None:
        """Note that the event loop did not get so far as to hand a connection over, and has closed it itself."""
        self._transport = None

    async def _ping(self, heard: int) -> None:
        try:
            await self.answer(PING)
        except BusOutOfReachError:
            # An answer may be behind many messages; whoever sends those is there.
            if self._heard == heard:
                self.fail(NO_ANSWER)

    def _answered(self, reply: object) -> None:
        if not self._awaited:
            self.fail("answers what nobody has asked")
            return
        awaited = self._awaited[0]
        awaited.left -= 1
        if awaited.left == 0:
            self._awaited.popleft()
            if not awaited.answer.done():
                awaited.answer.set_result(reply)


class _Awaited:
    """The answers to some commands that were sent together."""

    __slots__ = ("answer", "left")

    def __init__(self, left: int, answer: "asyncio.Future[Any]") -> None:
        self.left = left
        self.answer = answer


def _explained(refusal: str) -> str:
    """Say in words what Redis means. What it quotes of a command is left out: that may be a password."""
    match refusal.partition(" ")[0]:
        case "WRONGPASS":
            return "does not accept the user name or the password of redis.url"
        case "NOAUTH":
            return "wants a password; put it into redis.url, as in redis://:PASSWORD@HOST:PORT"
        case "NOPROTO":
            return _TOO_OLD
    if "unknown command" in refusal and "HELLO" in refusal:
        return _TOO_OLD
    return f"answers: {refusal.partition(', with args')[0]}"
