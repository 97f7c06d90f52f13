"""The supervisor of workers, over small scripts in their place: starts, deaths, ends, and when it gives up."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from coordinator.cli.supervisor import Patience, Supervisor, WorkersFailedError
from tests.processes.guests import left_of

PATIENCE_SECONDS = 30.0
QUICK = Patience(start=10, first_restart=0.01, last_restart=0.02, steady=60, end=10, most_failures=3)
ANSWER = "import os, sys; order = sys.stdin.readline().strip(); print(f'worker ready at {order}', flush=True); "
UNTIL_TOLD = "sys.stdin.read()"


def command(script: str) -> Sequence[str]:
    return [sys.executable, "-I", "-S", "-c", script]


class Run:
    """A supervisor at work.

    Attributes:
        addresses: What was called ready.
    """

    def __init__(self, script: str, workers: int = 2, patience: Patience = QUICK) -> None:
        self.addresses: list[str] = []
        self.ready = asyncio.Event()
        self.stop = asyncio.Event()
        orders = [f"order-{number}".encode() for number in range(1, workers + 1)]
        self.supervisor = Supervisor(command(script), orders, patience)
        self.task = asyncio.create_task(self._run())

    async def until_ready(self) -> list[psutil.Process]:
        """Wait until all answer; return their processes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.ready.wait()
        return self.processes()

    async def until_replaced(self, first: psutil.Process) -> None:
        """Wait until another process than `first` answers as worker 1."""
        worker = self.supervisor._workers[0]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while worker.pid == first.pid or not worker.answers:
                assert not self.task.done()
                await asyncio.wait({self.task}, timeout=0.01)

    async def ended(self) -> None:
        """Wait until it has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task

    def processes(self) -> list[psutil.Process]:
        """Return those of its workers that run, by number."""
        pids = [worker.pid for worker in self.supervisor._workers]
        return [psutil.Process(pid) for pid in pids if pid is not None and psutil.pid_exists(pid)]

    async def _run(self) -> None:
        async def stop() -> None:
            await self.stop.wait()

        await self.supervisor.run(stop(), self._take)

    def _take(self, address: str) -> None:
        self.addresses.append(address)
        self.ready.set()


async def test_it_is_ready_once_all_answer_and_ends_when_all_have(tmp_path: Path) -> None:
    run = Run(ANSWER + UNTIL_TOLD, workers=3)
    processes = await run.until_ready()
    assert run.addresses == ["order-1"]
    assert len(processes) == 3
    run.stop.set()
    await run.ended()
    assert await left_of(processes, 0) == []


async def test_what_dies_is_started_again_as_often_as_it_takes(capfd: pytest.CaptureFixture[str]) -> None:
    # Often: while another one answers, it is not given up.
    run = Run(ANSWER + UNTIL_TOLD)
    first, second = await run.until_ready()
    for _ in range(2 * QUICK.most_failures):
        first.kill()
        await run.until_replaced(first)
        first = run.processes()[0]
    assert run.processes() == [first, second]
    run.stop.set()
    await run.ended()
    assert run.addresses == ["order-1"]


async def test_when_the_first_does_not_start_no_other_is_tried(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    run = Run(f"import sys; print(sys.stdin.readline(), file=open({str(tried)!r}, 'a')); sys.exit(3)")
    with pytest.raises(WorkersFailedError, match="worker 1 ended with exit code 3 before it answered"):
        await run.ended()
    assert tried.read_text().split() == ["order-1"]


async def test_when_another_does_not_start_the_first_is_ended(tmp_path: Path) -> None:
    run = Run(ANSWER.replace("; print", "; order == 'order-2' and sys.exit(4); print") + UNTIL_TOLD)
    with pytest.raises(WorkersFailedError, match="worker 2 ended with exit code 4"):
        await run.ended()
    assert run.addresses == []
    assert await left_of(run.processes(), 0) == []


async def test_a_worker_that_never_answers_is_killed_in_the_end() -> None:
    run = Run("import sys; sys.stdin.read()", patience=Patience(start=0.3))
    with pytest.raises(WorkersFailedError, match="worker 1 was ended by SIGKILL before it answered"):
        await run.ended()
    assert await left_of(run.processes(), 0) == []


async def test_it_gives_up_when_they_die_again_and_again_and_none_answers(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    script = f"import os; os.path.exists({str(broken)!r}) and os._exit(5); " + ANSWER + UNTIL_TOLD
    run = Run(script)
    processes = await run.until_ready()
    broken.touch()
    for process in processes:
        process.kill()
    with pytest.raises(WorkersFailedError, match=r"worker [12] ended with exit code 5, like 2 times before"):
        await run.ended()
    assert await left_of(run.processes(), 0) == []


async def test_who_does_not_end_is_killed() -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + ANSWER + "signal.pause()"
    run = Run(stubborn, patience=Patience(end=0.3))
    processes = await run.until_ready()
    run.stop.set()
    await run.ended()
    assert await left_of(processes, 0) == []


async def test_a_worker_that_ends_by_itself_is_started_again() -> None:
    run = Run(ANSWER + UNTIL_TOLD)
    first, _ = await run.until_ready()
    first.send_signal(signal.SIGTERM)
    await run.until_replaced(first)
    run.stop.set()
    await run.ended()


async def test_what_a_worker_prints_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    run = Run("print('before', flush=True); " + ANSWER + "print('after', flush=True); " + UNTIL_TOLD, workers=1)
    await run.until_ready()
    printed = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "after" not in printed:
            printed += capfd.readouterr().out
            await asyncio.wait({run.task}, timeout=0.01)
    assert [line for line in printed.splitlines() if line in {"before", "after"}] == ["before", "after"]
    run.stop.set()
    await run.ended()


async def test_they_are_not_in_the_terminals_group() -> None:
    run = Run(ANSWER + UNTIL_TOLD)
    processes = await run.until_ready()
    groups = {os.getpgid(process.pid) for process in processes}
    assert groups == {process.pid for process in processes}
    run.stop.set()
    await run.ended()
