"""What a referee can find: the invariants by name, the violation of one, and a count of how often each was checked.

Owns the words; must not know how anything is checked.
"""

from enum import StrEnum
from typing import NoReturn


class Invariant(StrEnum):
    """Everything that must hold, whatever happens. The value begins the text of its violation."""

    ACKS = "an ack means durable"
    CHAIN = "one dense, chained order"
    CLOCK = "times never run backwards, and never ahead"
    VIEWS = "every subscriber sees the journal, each event once and in order"
    SNAPSHOTS = "a snapshot equals the fold of the journal"
    CAUGHT_UP = "whoever listens is brought up to date"
    SEATS = "seats never exceed the maximum"
    FINALITY = "ended is final"
    TRANSITIONS = "only legal events, and only real changes"
    PERMISSION = "permission follows the rule, in the commit of its cause"
    DEADLINES = "deadlines are kept: not early, not twice, not passed over"
    GHOSTS = "no ghosts"
    SEATED = "who holds a seat is present"
    DOCUMENTS = "documents follow the journal and never run backwards"
    ONE_SESSION = "one session for each slot that somebody has booked"
    REGISTERED = "only the registered join"
    ATTENDANCE = "attendance is recorded exactly once"


class Violation(AssertionError):  # noqa: N818 - what a referee finds is no failure of its own
    """An invariant does not hold.

    Attributes:
        invariant: Which one.
        facts: What was found, in plain words.
    """

    def __init__(self, invariant: Invariant, facts: str) -> None:
        super().__init__(f"{invariant}: {facts}")
        self.invariant = invariant
        self.facts = facts


class Tally:
    """How often each invariant was checked.

    Attributes:
        checked: Checks by invariant.
    """

    def __init__(self) -> None:
        self.checked = dict.fromkeys(Invariant, 0)


def violated(invariant: Invariant, facts: str) -> NoReturn:
    """Say that an invariant does not hold.

    Raises:
        Violation: Always.
    """
    raise Violation(invariant, facts)
