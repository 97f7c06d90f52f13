"""Random logs: commits of any events in any order. The ledger does not ask whether they make sense, nor do these.

But salts stand where they may, and only there.
"""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from coordinator.domain.events import (
    EVENT_TYPES,
    Actor,
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    Role,
    SessionEnded,
    UserErased,
)
from coordinator.domain.events import PermissionReason as Why
from coordinator.domain.ids import CommitId, ConnectionId, UserId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.model import EndReason, Language, Level
from coordinator.domain.pseudonyms import Alias, alias_of
from tests.domain.story import SESSION, SLOT, START

TEXTS = st.text(max_size=12)
USERS = (st.sampled_from(["anna", "ben", "system"]) | st.text(min_size=1, max_size=12)).map(UserId)
SALTS = st.text("0123456789abcdef", min_size=32, max_size=32)
INSTANTS = st.integers(0, 10_000_000).map(lambda count: START + timedelta(milliseconds=count))
LENGTHS = st.integers(0, 600_000).map(lambda count: count / 1000)
SEATS = st.integers(2, 50)
FLAGS = st.booleans()
CONNECTIONS = TEXTS.map(ConnectionId)
REASONS: dict[type[EventBody], st.SearchStrategy[Any]] = {
    SessionEnded: st.sampled_from(EndReason),
    ParticipantDisconnected: st.sampled_from(DisconnectReason),
    ParticipantLeft: st.sampled_from(LeftReason),
}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "time_slot_id": st.just(SLOT),
    "target_language_code": st.sampled_from(Language),
    "level": st.sampled_from(Level),
    "scheduled_start": INSTANTS,
    "scheduled_end": INSTANTS,
    "no_show_at": INSTANTS,
    "min_participants": SEATS,
    "max_participants": SEATS,
    "empty_timeout_seconds": LENGTHS,
    "reconnect_grace_seconds": LENGTHS,
    "user_id": USERS,
    "connection_id": CONNECTIONS,
    "camera_enabled": FLAGS,
    "mic_enabled": FLAGS,
    "recording_consent": FLAGS,
    "reconnect_by": INSTANTS,
    "message": st.none() | TEXTS,
    "policy_version": st.none() | TEXTS,
    "url": TEXTS,
    "start_time": INSTANTS,
}
ACTORS = st.builds(Actor, user_id=USERS, role=st.sampled_from(Role))


def _bodies_of(kind: type[EventBody]) -> st.SearchStrategy[EventBody]:
    fields = {
        name: REASONS.get(kind, st.sampled_from(Why)) if name == "reason" else FIELDS[name]
        for name in kind.__struct_fields__
    }
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


BODIES = st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda kind: _bodies_of(EVENT_TYPES[kind]))


class Company:
    """Who is in a session, with or without a salt."""

    def __init__(self) -> None:
        self.joined: set[UserId] = set()
        self.aliases: dict[UserId, Alias] = {}

    def may_be_salted(self, actor: Actor, body: EventBody) -> bool:
        if isinstance(body, ParticipantJoined):
            return body.user_id not in self.joined
        return actor.role is not Role.SYSTEM and actor.user_id not in self.joined

    def take_in(self, body: EventBody, salt: str | None) -> None:
        if isinstance(body, ParticipantJoined):
            self.joined.add(body.user_id)
            if salt is not None:
                self.aliases[body.user_id] = alias_of(body.user_id, salt)
        elif isinstance(body, UserErased):
            self.joined.discard(body.user_id)
            self.aliases.pop(body.user_id, None)


@st.composite
def logs(draw: st.DrawFn, min_commits: int = 1, max_commits: int = 4) -> list[Commit]:
    """Draw a session's commits, sealed and chained."""
    commits: list[Commit] = []
    company = Company()
    seq, prev_hash = 1, GENESIS
    at: datetime = START
    for number in range(draw(st.integers(min_commits, max_commits))):
        at += timedelta(milliseconds=draw(st.integers(0, 100_000)))
        said = draw(st.lists(st.tuples(ACTORS, BODIES), min_size=1, max_size=3))
        before = dict(company.aliases)
        events = []
        for place, (actor, body) in enumerate(said):
            salt = draw(st.none() | SALTS) if company.may_be_salted(actor, body) else None
            company.take_in(body, salt)
            events.append(Event(session_id=SESSION, seq=seq + place, at=at, actor=actor, body=body, salt=salt))
        commits.append(seal(CommitId(f"{number:024x}"), events, prev_hash, before))
        seq, prev_hash = seq + len(events), commits[-1].hash
    return commits
