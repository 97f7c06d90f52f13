"""Warnings that may come by the thousand. Owns how often they are logged; must not know what they are about."""

import time
from typing import Any

from coordinator.telemetry import Logger

INTERVAL_SECONDS = 1.0


class Complaints:
    """Warnings of one kind: the first is logged at once, and at most one a second after it, with how many there were.

    Args:
        log: Where to.
        event: Their name.
    """

    def __init__(self, log: Logger, event: str) -> None:
        self._log = log
        self._event = event
        self._count = 0
        self._quiet_until = 0.0

    def add(self, **context: Any) -> None:
        """Complain, with an example of what about."""
        self._count += 1
        now = time.monotonic()
        if now >= self._quiet_until:
            self._log.warning(self._event, count=self._count, **context)
            self._count, self._quiet_until = 0, now + INTERVAL_SECONDS
