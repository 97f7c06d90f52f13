"""A referee and the real domain agree on what can have happened: all that the domain says, and nothing else.

Nothing is drawn anew from run to run: the histories come from fixed seeds, and hypothesis goes its own way in one test.
"""

import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import settings

from coordinator.domain.commands import AdvanceTime, Command
from coordinator.domain.decide import Decision
from coordinator.domain.events import Event
from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.pseudonyms import NOBODY
from coordinator.services.catching_up import View, snapshot_of
from tests.domain.story import PASS, SESSION
from tests.domain.test_properties import AnySession
from tests.simulation.court import NODE_TIMEOUT_SECONDS
from tests.simulation.histories import EMPTY_SECONDS, GRACE_SECONDS, MUTATIONS, mutated, random_history, sealed
from tests.simulation.possible import is_possible
from tests.simulation.referee import Invariant, Referee, Violation

HISTORIES = 100
EACH = 2
"""Mutations of each kind that each history suffers."""
LEAST_CAUGHT = {
    "drop": 0.65,
    "double": 1.0,
    "swap": 0.5,
    "change user": 0.97,
    "flip": 0.97,
    "change reason": 1.0,
    "change connection": 0.8,
    "shift": 0.3,
    "tear": 1.0,
}
"""The share of mutations that must be caught in the log alone. The rest are histories that could have happened."""


def a_referee() -> Referee:
    return Referee(GRACE_SECONDS, EMPTY_SECONDS, NODE_TIMEOUT_SECONDS)


def judged(commits: list[Commit], referee: Referee | None = None) -> Referee:
    """Tell a referee of commits, each written at its own time."""
    referee = referee or a_referee()
    for commit in commits:
        referee.committed(commit, commit.at)
    return referee


def is_caught(history: list[list[Event]]) -> bool:
    try:
        judged(sealed(history))
    except Violation:
        return True
    return False


@pytest.fixture(scope="module")
def histories() -> list[list[list[Event]]]:
    return [random_history(seed) for seed in range(HISTORIES)]


class RefereedSession(AnySession):
    """One session under a storm of commands, told to a referee. As in a coordinator, what is overdue comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.referee = a_referee()
        self.head = GENESIS
        self.latest = self.clock

    def decide(self, command: Command) -> Decision:
        if self.state is not None and not isinstance(command, AdvanceTime):
            self._decide(PASS)
        return self._decide(command)

    def _decide(self, command: Command) -> Decision:
        aliases = NOBODY if self.state is None else self.state.aliases
        decision = super().decide(command)
        # The clock of this machine runs backwards at times; the true time does not.
        self.latest = max(self.latest, self.clock)
        if decision.events:
            commit = seal(CommitId(f"{len(self.commits):024x}"), decision.events, self.head, aliases)
            self.head = commit.hash
            self.referee.committed(commit, self.latest)
        return decision


TestRefereedSession = RefereedSession.TestCase
TestRefereedSession.settings = settings(max_examples=60)


def test_what_the_domain_says_holds(histories: list[list[list[Event]]]) -> None:
    totals: Counter[str] = Counter()
    for history in histories:
        assert is_possible(history)
        totals.update(judged(sealed(history)).summary())
    kinds = Counter(event.body.kind for history in histories for commit in history for event in commit)
    assert len(kinds) == 16, "everything but an erasure happens"
    assert totals["events"] == sum(kinds.values())
    assert min(totals[name] for name in ("seats", "finality", "transitions", "permission", "deadlines")) > HISTORIES


def test_what_is_shown_of_what_the_domain_says_holds(histories: list[list[list[Event]]]) -> None:
    for history in histories:
        referee, state = a_referee(), None
        for commit in sealed(history):
            referee.committed(commit, commit.at + timedelta(seconds=1))
            state = fold((item.event for item in commit.events), state)
            assert state is not None
            snapshot = snapshot_of(state)
            for item in commit.events:
                referee.client_saw("follower", SESSION, item)
            referee.client_snapshot("looker", SESSION, View(SESSION, state.seq, commit.at, snapshot=snapshot))
            referee.document_written(snapshot.session, snapshot.participants)
            referee.acked(SESSION, commit.events[0].event.actor.user_id, "anything", state.seq)
        checked = referee.checked
        shown = (Invariant.VIEWS, Invariant.SNAPSHOTS, Invariant.DOCUMENTS, Invariant.ACKS)
        assert all(checked[invariant] >= len(history) for invariant in shown)


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_referee_objects_to_what_the_domain_would_never_say_and_to_nothing_else(
    kind: str, histories: list[list[list[Event]]]
) -> None:
    chance, outcomes = random.Random(kind), Counter[bool]()
    for number, history in enumerate(histories):
        for _ in range(EACH):
            broken = mutated(chance, kind, history)
            if broken is None:
                continue
            outcome = is_caught(broken)
            assert outcome is not is_possible(broken), f"history {number}: {broken}"
            outcomes[outcome] += 1
    assert outcomes.total() > HISTORIES
    assert outcomes[True] / outcomes.total() >= LEAST_CAUGHT[kind], outcomes


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_subscriber_who_saw_the_log_before_it_was_altered_catches_all(
    kind: str, histories: list[list[list[Event]]]
) -> None:
    """Also what could have happened: the journal must be what was shown."""
    chance = random.Random(kind)
    for history in histories:
        broken = mutated(chance, kind, history)
        if broken is None:
            continue
        with pytest.raises(Violation):
            shown_and_judged(history, broken)


def shown_and_judged(history: list[list[Event]], broken: list[list[Event]]) -> None:
    """Show a follower one history, and let the journal hold the other."""
    referee = judged(sealed(broken))
    for commit in sealed(history):
        for item in commit.events:
            referee.client_saw("follower", SESSION, item)
