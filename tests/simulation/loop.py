"""An event loop whose time is a number: nothing waits, and what is ready runs in the order in which it became ready.

Owns virtual time, and which process every callback belongs to; must not know what a process does. A callback carries
the context in which it was made, as everywhere in asyncio, and the context names the process. So a process as a whole
can stand still (everything of its own is kept, in order, until it goes on) or be dead (nothing of it ever runs again,
no `finally` and no `except` either), which is what SIGSTOP and SIGKILL do to a real one.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_RESOLUTION_SECONDS = 1e-9
_ROUNDS_AT_THE_END = 5
_SECONDS_AT_THE_END = 1.0


class Process:
    """Something that runs on the loop, stands still, or is dead.

    Attributes:
        name: What it is called in stories.
        is_paused: Whether it stands still.
        is_dead: Whether it is dead.
        context: The context of everything that it does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_paused = False
        self.is_dead = False
        self._held: deque[asyncio.Handle] = deque()
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)

    def pause(self) -> None:
        """Let it run nothing until it goes on."""
        self.is_paused = True

    def go_on(self, loop: "VirtualLoop") -> None:
        """Let it run what has become ready meanwhile, oldest first, and go on."""
        self.is_paused = False
        loop.run_again(self._held)
        self._held.clear()

    def kill(self) -> None:
        """Let it never run anything again."""
        self.is_dead = True

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep what became ready and must not run."""
        self._held.append(handle)


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""Whose callback is running; None: nobody's who can stand still or die, such as a client or the network."""


class VirtualLoop(asyncio.BaseEventLoop):
    """When nothing is ready, its time jumps to the next timer. It knows no files, no threads and no signals."""

    # What asyncio's own loop keeps; its base class declares none of it.
    _ready: deque[Any]
    _scheduled: list[Any]
    _timer_cancelled_count: int
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._time = 0.0
        self._stopped: dict[Process, None] = {}

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._time

    def run_again(self, handles: "deque[asyncio.Handle]") -> None:
        """Let callbacks that were held run in their turn."""
        self._ready.extend(handles)

    def revive(self) -> None:
        """Let every process that stands still or is dead go on."""
        for process in self._stopped:
            process.is_dead = False
            process.go_on(self)

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:
            if not scheduled:
                raise RuntimeError("nothing will ever happen: no callback is ready, and no timer is set")
            self._time = max(self._time, scheduled[0]._when)
        end = self._time + _RESOLUTION_SECONDS
        while scheduled and scheduled[0]._when < end:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and (process.is_paused or process.is_dead):
                process.hold(handle)
                self._stopped[process] = None
            else:
                handle._run()

    def _process_events(self, event_list: Any) -> None:
        raise NotImplementedError("no sockets take part in this")

    def _write_to_self(self) -> None:
        raise NotImplementedError("no other thread takes part in this")


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a loop of its own; what is left of other tasks then is cancelled.

    Whatever a callback raises ends the run, and is raised here.
    """
    loop = VirtualLoop()
    over: asyncio.Future[T] = loop.create_future()

    def failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        if not over.done():
            over.set_exception(failure if isinstance(failure, BaseException) else RuntimeError(str(context)))

    def done(task: "asyncio.Task[T]") -> None:
        if over.done() or task.cancelled():
            return
        failure = task.exception()
        if failure is None:
            over.set_result(task.result())
        else:
            over.set_exception(failure)

    loop.set_exception_handler(failed)
    try:
        task = loop.create_task(main(loop), name="story")
        task.add_done_callback(done)
        return loop.run_until_complete(over)
    finally:
        _end(loop)


def _end(loop: VirtualLoop) -> None:
    """Let every task end, those of dead and standing processes included, so that nothing is left to be collected."""
    loop.set_exception_handler(lambda _loop, _context: None)
    for _ in range(_ROUNDS_AT_THE_END):
        left = asyncio.all_tasks(loop)
        if not left:
            break
        for task in left:
            task.cancel()
        loop.revive()
        loop.run_until_complete(asyncio.wait(left, timeout=_SECONDS_AT_THE_END))
    loop.close()
