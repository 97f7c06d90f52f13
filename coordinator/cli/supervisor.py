"""Processes that are kept running: started, started again when they die, ended together.

Owns their lives. Must not know what they do: only that they take their order from standard input, say on standard
output when they answer, end at SIGTERM, and end when their standard input does.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from coordinator.telemetry import get_logger

READY_MARK = "worker ready at "
"""What a worker prints before its address, on a line of its own, when it answers."""

_log = get_logger("supervisor")


class WorkersFailedError(Exception):
    """Workers do not start, or die soon after, again and again. The message says which, and how they ended."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long is waited for what, in seconds.

    Attributes:
        start: For a worker to answer.
        first_restart: Before a worker that died is started again; twice as long each time,
        last_restart: up to this.
        steady: A worker that ran for so long has not failed.
        end: For workers to end before they are killed.
        most_failures: How often in a row a worker may fail while no other one answers.
    """

    start: float = 60.0
    first_restart: float = 0.5
    last_restart: float = 10.0
    steady: float = 10.0
    end: float = 8.5
    most_failures: int = 5


class _Worker:
    """One place among the workers, in which processes follow each other."""

    def __init__(self, number: int, command: Sequence[str], order: bytes) -> None:
        self.number = number
        self.answers = False
        self._command = command
        self._order = order
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process, if one has been started."""
        return None if self._process is None else self._process.pid

    async def start(self, within_seconds: float) -> str | None:
        """Start a process; return the address at which it answers, or None if it did not come to that."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # Ctrl-C in a terminal goes to the whole group, but the end is told from here
        )
        assert process.stdin is not None
        process.stdin.write(self._order + b"\n")
        try:
            async with asyncio.timeout(within_seconds):
                address = await self._ready(process)
        except TimeoutError:
            _log.error("worker_silent", worker=self.number, pid=process.pid, after_seconds=within_seconds)
            self.send(signal.SIGKILL)
            return None
        self.answers = address is not None
        return address

    async def ended(self) -> int:
        """Wait until the process has ended; return its exit code, the negative number of a signal if that ended it."""
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            _pass_on(line)
        code = await self._process.wait()
        self.answers = False
        return code

    def send(self, number: signal.Signals) -> bool:
        """Send the process a signal; tell whether there is one that runs."""
        if self._process is None or self._process.returncode is not None:
            return False
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return True

    @staticmethod
    async def _ready(process: Process) -> str | None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            if text.startswith(READY_MARK):
                return text.removeprefix(READY_MARK)
            _pass_on(line)
        return None


def _pass_on(line: bytes) -> None:
    sys.stdout.write(line.decode(errors="replace"))
    sys.stdout.flush()


class Supervisor:
    """Workers that run the same command under different orders.

    Args:
        command: What to run.
        orders: A line for each worker. They are numbered from 1.
        patience: How long is waited for what.
    """

    def __init__(self, command: Sequence[str], orders: Sequence[bytes], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._workers = [_Worker(number, command, order) for number, order in enumerate(orders, 1)]

    async def run(self, stop: Awaitable[None], on_ready: Callable[[str], None]) -> None:
        """Keep workers running until `stop` is done; returns when all of them have ended.

        Args:
            stop: Done when it is time to end.
            on_ready: Called once, with the address of the first worker, when all of them answer.

        Raises:
            WorkersFailedError: One did not start at first, or later on none does any more.
        """
        stopping, working = asyncio.ensure_future(stop), asyncio.ensure_future(self._work(on_ready))
        try:
            await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failure = working.exception() if working.done() and not working.cancelled() else None
            for task in (stopping, working):
                task.cancel()
            await asyncio.gather(stopping, working, return_exceptions=True)
            await self._end_all()
        if failure is not None:
            raise failure

    async def _work(self, on_ready: Callable[[str], None]) -> None:
        first, *others = self._workers
        # Alone, so that what is wrong with all of them is told once, and what the first one makes is there for all.
        address = await self._start(first)
        await asyncio.gather(*map(self._start, others))
        on_ready(address)
        keepers = [asyncio.ensure_future(self._keep(worker)) for worker in self._workers]
        try:
            await asyncio.gather(*keepers)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _start(self, worker: _Worker) -> str:
        address = await worker.start(self._patience.start)
        if address is None:
            raise WorkersFailedError(f"worker {worker.number} {_end_in_words(await worker.ended())} before it answered")
        _log.info("worker_ready", worker=worker.number, pid=worker.pid)
        return address

    async def _keep(self, worker: _Worker) -> None:
        patience, loop = self._patience, asyncio.get_running_loop()
        pause, failures, began = patience.first_restart, 0, loop.time()
        while True:
            code = await worker.ended()
            failures += 1
            if loop.time() - began >= patience.steady:
                pause, failures = patience.first_restart, 0
            if failures >= patience.most_failures and not any(other.answers for other in self._workers):
                raise WorkersFailedError(
                    f"worker {worker.number} {_end_in_words(code)}, like {failures - 1} times before, and none answers"
                )
            _log.error("worker_died", worker=worker.number, pid=worker.pid, exit_code=code, restart_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, patience.last_restart)
            began = loop.time()
            if await worker.start(patience.start) is not None:
                _log.info("worker_ready", worker=worker.number, pid=worker.pid)

    async def _end_all(self) -> None:
        running = [worker for worker in self._workers if worker.send(signal.SIGTERM)]
        if not running:
            return
        ends = {asyncio.ensure_future(worker.ended()): worker for worker in running}
        _, late = await asyncio.wait(ends, timeout=self._patience.end)
        if late:
            numbers = sorted(ends[end].number for end in late)
            _log.error("workers_killed", workers=numbers, after_seconds=self._patience.end)
            for end in late:
                ends[end].send(signal.SIGKILL)
            await asyncio.wait(late)


def _end_in_words(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
