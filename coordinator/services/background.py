"""Tasks that run beside requests: kept referenced, logged when they fail, ended together."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from coordinator.domain.errors import UnavailableError
from coordinator.ports.clock import Clock
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.telemetry import get_logger

T = TypeVar("T")

_log = get_logger("background")


class BackgroundTasks:
    """Some of the tasks of one running coordinator."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` as a task of its own; a failure is logged, never lost."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_task_failed", task=task.get_name(), exc_info=error)

    async def wait_idle(self, seconds: float) -> bool:
        """Wait until no task is left, those that start meanwhile included, at most `seconds`; tell whether none is."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._tasks and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        return not self._tasks

    async def stop(self) -> None:
        """Cancel every task and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def at_once(limit: int, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` for each of `items`, at most `limit` of them at a time. The first failure ends it, and is raised."""
    left = list(items)
    left.reverse()

    async def work_on() -> None:
        while left:
            await work(left.pop())

    try:
        await asyncio.gather(*(work_on() for _ in range(min(limit, len(left)))))
    finally:
        left.clear()  # what is under way still ends, and nothing new begins


async def every(clock: Clock, seconds: float, work: Callable[[], Awaitable[None]], name: str) -> None:
    """Do `work` for ever, `seconds` apart; when the database is away, say so once and go on trying."""
    is_late = False
    while True:
        await clock.sleep(seconds)
        try:
            await work()
        except (OutcomeUnknownError, UnavailableError) as error:
            if not is_late:
                _log.warning("waiting_for_database", work=name, error=str(error))
            is_late = True
        except Exception:  # noqa: BLE001 - a defect in one round must not end all later ones
            _log.exception("round_failed", work=name)
        else:
            is_late = False
