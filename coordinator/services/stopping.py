"""A planned stop in steps that are each given so long, whatever hangs (SPEC section 5).

Owns patience, and what is said of what was left. Must not know what the steps do.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from coordinator.domain.errors import UnavailableError
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.telemetry import get_logger

_LAST_WORD_SECONDS = 0.1
"""How long a step that was given up may take to notice that."""

_log = get_logger("stopping")


class Stop:
    """One stop of one node.

    Attributes:
        undone: The steps that did not come to their end, in their order.
    """

    def __init__(self) -> None:
        self.undone: list[str] = []

    async def step(self, name: str, seconds: float, work: Coroutine[Any, Any, object]) -> bool:
        """Do `work` for at most `seconds`; tell whether it was done.

        It never raises but for cancellation, and returns in time also when `work` does not let itself be cancelled.

        Args:
            name: What it is, and what follows if it is left undone, for whoever reads the log.
            seconds: How long it may take.
            work: What to do.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_LAST_WORD_SECONDS)
        finally:
            task.cancel()
        _log.debug("stop_step", step=name, seconds=round(loop.time() - began, 3))
        if _is_done(task, name):
            return True
        self.undone.append(name)
        return False

    def tell(self) -> None:
        """Say in one line what was left undone, if anything was."""
        if self.undone:
            _log.warning("stopped_unfinished", undone=self.undone)


def _is_done(task: "asyncio.Future[object]", name: str) -> bool:
    if not task.done() or task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, OutcomeUnknownError | UnavailableError | TimeoutError):
        _log.error("stop_step_failed", step=name, exc_info=error)
    return error is None
