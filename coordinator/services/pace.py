"""How long commands gather before they are written together: not at all, unless there is something to be gained.

While a flush is under way, commands gather anyway. Two things are gained by a little more:

**Flushes begin a little apart.** Each costs this process a quarter of a millisecond for the driver and a write to
everyone in the room, whatever is in it. Where the database answers at once and many commands come, that is most of
what a command costs. So a flush begins when three times as long has passed as the last one took, or two milliseconds.
While few commands come, a longer pause was measured to spare nothing. When so many come that several share each flush
anyway, flushes begin further apart, short ones above all: that spares a sixth of what a command costs, for two
milliseconds more of waiting.

**Those who come back are waited for.** Where flushes are long, those whose answers it brings come back with their next
commands a little too late for the next one, and so each flush holds half of what it could: as many commits, half as
large. A short wait after a long flush lets them all into one, for which the database does nearly the same work as for
the half.
"""

from dataclasses import dataclass

_APART = 3
"""How far apart flushes begin, in times of the last one."""
_MOST_APART_SECONDS = 0.002
"""The longest that anybody is kept waiting for that. Whoever comes later than this after the last flush never waits."""
_SEVERAL_COMMANDS = 4
_MOST_APART_FOR_SEVERAL_SECONDS = 0.004
"""The same after a flush of several commands,"""
_SHORT_SECONDS = 0.0025
_FURTHER_APART = 6
_MOST_FURTHER_APART_SECONDS = 0.006
"""and after one that was shorter than that: after a longer one enough have come while the database worked."""
_LONG_SECONDS = 0.016
_MANY_COMMANDS = 64
_SHARE = 1 / 8


@dataclass(slots=True)
class Pace:
    """What is known of the last flush.

    Attributes:
        ended: When it ended, by the stopwatch.
        lasted: How many seconds it took; of a database that takes no time, nothing is expected.
        commands: How many commands were waiting when it began.
    """

    ended: float = 0.0
    lasted: float = 0.0
    commands: int = 0

    def note(self, began: float, ended: float, commands: int) -> None:
        """Note a flush."""
        self.ended, self.lasted, self.commands = ended, ended - began, commands

    def window(self, now: float) -> float:
        """Return how many seconds to let commands gather before a flush that could begin `now`."""
        if not self.lasted:
            return 0.0
        is_loaded = self.lasted >= _LONG_SECONDS and self.commands >= _MANY_COMMANDS
        was_idle = now - self.ended >= self.lasted
        if is_loaded and not was_idle:
            return self.lasted * _SHARE
        return max(0.0, self.ended - self.lasted + self._apart() - now)

    def _apart(self) -> float:
        if self.commands < _SEVERAL_COMMANDS:
            return min(_APART * self.lasted, _MOST_APART_SECONDS)
        if self.lasted < _SHORT_SECONDS:
            return min(_FURTHER_APART * self.lasted, _MOST_FURTHER_APART_SECONDS)
        return min(_APART * self.lasted, _MOST_APART_FOR_SEVERAL_SECONDS)
