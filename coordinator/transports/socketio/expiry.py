"""When tokens end: a timer for each that ends soon, a place in a set for all others.

Tokens mostly outlive the connections that present them. A timer for each of ten thousand would be the largest part of
what an idle connection costs.
"""

import math
from collections.abc import Callable
from datetime import datetime

from coordinator.ports.clock import Clock, Timer
from coordinator.transports.socketio.connection import Connection

_PERIOD_SECONDS = 60


class Expiries:
    """The ends of the tokens of this node's connections.

    Args:
        clock: Time.
        on_end: Called with each connection when its token ends, if it is still here by then; must not raise.
    """

    def __init__(self, clock: Clock, on_end: Callable[[Connection], None]) -> None:
        self._clock = clock
        self._on_end = on_end
        self._later: dict[int, set[Connection]] = {}  # by the period in which they end
        self._soon: dict[Connection, Timer] = {}
        self._sweep: Timer | None = None

    def add(self, connection: Connection) -> None:
        """Watch a connection; at once, where its token has ended."""
        now = self._clock.now()
        period = _period(connection.identity.expires_at)
        if period <= _period(now) + 1:
            self._await(connection, now)
            return
        self._later.setdefault(period, set()).add(connection)
        if self._sweep is None:
            self._sweep = self._clock.call_later(_PERIOD_SECONDS / 2, self._look)

    def remove(self, connection: Connection) -> None:
        """Watch a connection no more; harmless to repeat."""
        timer = self._soon.pop(connection, None)
        if timer is not None:
            timer.cancel()
            return
        period = _period(connection.identity.expires_at)
        waiting = self._later.get(period)
        if waiting is not None:
            waiting.discard(connection)
            if not waiting:
                del self._later[period]
        if not self._later and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _look(self) -> None:
        """Give timers to those that end in this period or the next. Comes by twice a period, so none is missed."""
        self._sweep = None
        now = self._clock.now()
        for period in [period for period in self._later if period <= _period(now) + 1]:
            for connection in self._later.pop(period):
                self._await(connection, now)
        if self._later:
            self._sweep = self._clock.call_later(_PERIOD_SECONDS / 2, self._look)

    def _await(self, connection: Connection, now: datetime) -> None:
        left = (connection.identity.expires_at - now).total_seconds()
        if left <= 0:
            self._soon.pop(connection, None)
            self._on_end(connection)
        else:
            # Timers run on the stopwatch, tokens end by the wall clock: if it was a little early, there is another one.
            self._soon[connection] = self._clock.call_later(left, lambda: self._await(connection, self._clock.now()))


def _period(instant: datetime) -> int:
    return math.floor(instant.timestamp() / _PERIOD_SECONDS)
