"""Several commands in one decision: what they make happen is what they would one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain import decide as deciding
from coordinator.domain.commands import Command
from coordinator.domain.deadlines import next_deadline
from coordinator.domain.decide import Decision, decide
from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Event, MicChanged
from coordinator.domain.evolve import evolve
from coordinator.domain.state import SessionState
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    OPEN,
    PASS,
    SESSION,
    START,
    Story,
    attach,
    consent,
    erase,
    join,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
    running,
    salt,
)

STATES = [
    None,
    Story().session,
    Story().given(join(ANNA), join(BEN)).session,
    running(ANNA, BEN).session,
    running(ANNA, BEN, recording=True, consenting=[ANNA]).given(lose(BEN)).session,
    running(ANNA, BEN).given(END_IT).session,
]
WHO = st.sampled_from([ANNA, BEN, CLEO])
FLAG = st.booleans()
COMMANDS = st.one_of(
    st.sampled_from([OPEN, PASS, END_IT, record(), record(enabled=False)]),
    st.builds(media, WHO, camera=FLAG | st.none(), mic=FLAG | st.none()),
    st.builds(join, WHO) | WHO.map(lambda who: join(who, phone(who))),
    *(WHO.map(ask) for ask in (leave, lose, consent, revoke, mute, remove, erase)),
    WHO.map(lambda who: attach(who, minutes(0))),
)


def is_refused(decision: Decision, command: Command) -> bool:
    try:
        decision.hear(command)
    except CoordinatorError:
        return True
    return False


@given(st.sampled_from(STATES), st.lists(COMMANDS, max_size=8), st.sampled_from([-1, 0, 0.4, 5, 60]))
def test_commands_together_make_happen_what_they_would_one_by_one(
    state: SessionState | None, commands: list[Command], at: float
) -> None:
    now = START + minutes(at)
    together = Decision(SESSION, state, now, salt(0))
    apart: list[Event] = []
    for number, command in enumerate(commands):
        deadline = None if state is None else next_deadline(state)
        assert together.deadline == deadline
        for asked in [PASS, command] if deadline is not None and deadline <= now else [command]:
            together.salt, together.is_salt_used = salt(number), False
            refused = is_refused(together, asked)
            try:
                decision = decide(SESSION, state, asked, now, salt(number))
            except CoordinatorError:
                assert refused
            else:
                assert not refused
                assert together.is_salt_used is any(event.salt is not None for event in decision.events)
                state = decision.state
                apart += decision.events
            assert (together.events, together.state) == (apart, state)
            assert not together.may_be_overdue


def test_of_a_command_that_fails_nothing_has_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: SessionState | None, event: Event) -> Any:
        if isinstance(event.body, MicChanged):
            raise ZeroDivisionError
        return evolve(state, event)

    state = running(ANNA, BEN).session
    decision = Decision(SESSION, state, state.updated_at, salt(0))
    decision.hear(media(BEN, camera=True))
    before = (list(decision.events), decision.state, decision.deadline)
    with monkeypatch.context() as patch:
        patch.setattr(deciding, "evolve", broken)
        with pytest.raises(ZeroDivisionError):
            decision.hear(media(ANNA, camera=True, mic=True))
    assert (decision.events, decision.state, decision.deadline) == before
    decision.hear(media(ANNA, mic=True))
    assert [event.seq for event in decision.events] == [state.seq + 1, state.seq + 2]
