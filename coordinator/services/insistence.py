"""Commands of the coordinator itself, which must happen: if the database is away, then as soon as it is back.

Owns trying again. What is refused has nothing left to do, and that is all right.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from coordinator.domain.commands import Command
from coordinator.domain.errors import CoordinatorError, UnavailableError
from coordinator.domain.ids import SessionId
from coordinator.ports.clock import Clock
from coordinator.services.background import BackgroundTasks
from coordinator.services.committer import GroupCommitter
from coordinator.services.room import Room
from coordinator.telemetry import get_logger

_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)

_log = get_logger("insistence")


def _always() -> bool:
    return True


class Insistence:
    """Submits commands until they are decided.

    Args:
        find: Returns a session's room.
        committer: Decides commands.
        clock: Time.
        background: Where it goes on.
    """

    def __init__(
        self,
        find: Callable[[SessionId], Awaitable[Room]],
        committer: GroupCommitter,
        clock: Clock,
        background: BackgroundTasks,
    ) -> None:
        self._find = find
        self._committer = committer
        self._clock = clock
        self._background = background

    def begin(self, session_id: SessionId, command: Command) -> None:
        """Let a command happen, some time."""
        self._background.start(self.finish(session_id, command), _name(session_id, command))

    def begin_first(self, room: Room, command: Command, is_wanted: Callable[[], bool]) -> None:
        """Let a command be decided before all that waits in a room; try again only while it `is_wanted`."""
        answer = None
        with suppress(UnavailableError):
            answer = self._committer.submit(room, command, first=True)
        work = self.finish(room.session_id, command, is_wanted, answer)
        self._background.start(work, _name(room.session_id, command))

    async def finish(
        self,
        session_id: SessionId,
        command: Command,
        is_wanted: Callable[[], bool] = _always,
        answer: asyncio.Future[int] | None = None,
    ) -> None:
        """Let a command happen, and return when it has, was refused, or is no longer wanted.

        Args:
            session_id: The session.
            command: What is to happen.
            is_wanted: Asked before each attempt.
            answer: That of the first attempt, where it is under way.
        """
        attempt = 0
        while answer is not None or is_wanted():
            try:
                if answer is None:
                    room = await self._find(session_id)
                    if not is_wanted():
                        return
                    answer = self._committer.submit(room, command)
                await answer
            except UnavailableError:
                answer = None
                await self._clock.sleep(_PAUSES_SECONDS[min(attempt, len(_PAUSES_SECONDS) - 1)])
                attempt += 1
            except CoordinatorError as refusal:
                # Such as the departure of a connection whose join was refused: there is nothing left to do.
                _log.debug("not_needed", session=session_id, command=type(command).__name__, reason=refusal.code)
                return
            else:
                return


def _name(session_id: SessionId, command: Command) -> str:
    return f"{type(command).__name__} {session_id}"
