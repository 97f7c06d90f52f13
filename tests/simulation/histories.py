"""Histories for a referee: what the real domain says of random commands, and what it would never say.

A history is a session's log, commit by commit. `random_history` lets the domain decide, as a coordinator does: what is
overdue first, several commands in one commit. `mutated` breaks one thing, and seals the log anew, so that the chain
proves nothing.
"""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

from msgspec.structs import replace

from coordinator.domain.commands import Command
from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import (
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    ParticipantJoined,
    PermissionReason,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
)
from coordinator.domain.ids import CommitId, UserId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.model import EndReason
from coordinator.domain.pseudonyms import Alias, alias_of
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END_IT,
    PASS,
    START,
    Story,
    attach,
    consent,
    join,
    laptop,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
)

History: TypeAlias = list[list[Event]]
Mutation: TypeAlias = Callable[[random.Random, History], History | None]

GRACE_SECONDS, EMPTY_SECONDS = 20.0, 40.0
RULES: dict[str, Any] = {
    "scheduled_end": START + minutes(6),
    "no_show_at": START + minutes(2),
    "max_participants": 3,
    "empty_timeout_seconds": EMPTY_SECONDS,
    "reconnect_grace_seconds": GRACE_SECONDS,
}
"""A short session with few seats, so that all of it happens."""
USERS = (ANNA, BEN, CLEO, DINA)
_PAUSES = (0.0, 0.0, 0.0, 0.001, 1.0, 1.0, 5.0, 5.0, 19.999, 20.0, 41.0)
_LONG = 60
_OTHER_KIND: dict[type[EventBody], type[EventBody]] = {
    RecordingConsentGranted: RecordingConsentRevoked,
    RecordingConsentRevoked: RecordingConsentGranted,
    RecordingEnabled: RecordingDisabled,
    RecordingDisabled: RecordingEnabled,
    RecordingPermitted: RecordingWithdrawn,
    RecordingWithdrawn: RecordingPermitted,
}


def random_history(seed: int) -> History:
    """Return what the domain says of some sixty random commands, which begin shortly before the scheduled start."""
    chance = random.Random(seed)
    story = Story(opened=False, **RULES)
    story.clock = START - timedelta(seconds=10)
    story.given(story.opening)
    chapter = chance.randrange(3)
    if chapter:
        story.given(join(ANNA), join(BEN))
    if chapter == 2:
        story.given(record(), consent(ANNA), consent(BEN))
    for command in _commands(chance, story):
        try:
            story.when(command)
        except CoordinatorError:
            continue
    return _gathered(chance, story.commits)


def _commands(chance: random.Random, story: Story) -> Iterator[Command]:
    for _ in range(_LONG):
        story.clock += timedelta(seconds=chance.choice(_PAUSES))
        who, via = chance.choice(USERS), chance.choice((laptop, laptop, phone))
        connection = via(who)
        match chance.randrange(16):
            case 0 | 1 | 2 | 3:
                yield join(who, connection)
            case 4:
                yield lose(who, connection, chance.choice(list(DisconnectReason)))
            case 5:
                yield leave(who, connection)
            case 6 | 7 | 8:
                yield media(
                    who, camera=chance.choice((None, True, False)), mic=chance.choice((True, False)), via=connection
                )
            case 9 | 10:
                yield consent(who, chance.choice((None, "2030-01", "2030-02")), connection)
            case 11:
                yield revoke(who, None, connection)
            case 12:
                yield record(chance.random() < 0.7)
            case 13:
                yield mute(who)
            case 14:
                yield attach(who, story.clock - START - timedelta(seconds=chance.choice((0, 1, 20))))
            case _:
                yield chance.choice((PASS, PASS, PASS, remove(who), END_IT if chance.random() < 0.2 else PASS))


def _gathered(chance: random.Random, commits: History) -> History:
    """Return the same events in fewer commits, as when commands had to wait for a write."""
    gathered: History = []
    for commit in commits:
        if gathered and chance.random() < 0.3:
            gathered[-1].extend(commit)
        else:
            gathered.append(list(commit))
    return gathered


def sealed(history: History) -> list[Commit]:
    """Return a history, possible or not, as a sound chain of commits."""
    commits: list[Commit] = []
    aliases: dict[UserId, Alias] = {}
    for number, events in enumerate(history):
        prev_hash = commits[-1].hash if commits else GENESIS
        commits.append(seal(CommitId(f"{number:024x}"), events, prev_hash, dict(aliases)))
        for event in events:
            if event.salt is not None and isinstance(event.body, ParticipantJoined):
                aliases[event.body.user_id] = alias_of(event.body.user_id, event.salt)
    return commits


def renumbered(history: History) -> History:
    """Return a history whose events are dense and whose empty commits are gone."""
    numbers = iter(range(1, sum(map(len, history)) + 1))
    return [[replace(event, seq=next(numbers)) for event in commit] for commit in history if commit]


def _drop(chance: random.Random, history: History) -> History | None:
    commit = chance.choice(history)
    commit.pop(chance.randrange(len(commit)))
    return history if any(history) else None


def _double(chance: random.Random, history: History) -> History | None:
    commit = chance.choice(history)
    place = chance.randrange(len(commit))
    commit.insert(place, commit[place])
    return history


def _swap(chance: random.Random, history: History) -> History | None:
    """Let two events that follow each other change places; the times stay."""
    places = [(commit, place) for commit in history for place in range(len(commit))]
    if len(places) < 2:
        return None
    index = chance.randrange(len(places) - 1)
    (first, one), (second, two) = places[index], places[index + 1]
    before, after = first[one], second[two]
    if (before.body, before.actor) == (after.body, after.actor):
        return None
    first[one], second[two] = replace(after, at=before.at), replace(before, at=after.at)
    return history


def _change_user(chance: random.Random, history: History) -> History | None:
    return _altered(chance, history, "user_id", lambda known: chance.choice([user for user in USERS if user != known]))


def _flip(chance: random.Random, history: History) -> History | None:
    """Turn a flag, or one kind of event into its opposite."""
    flags = ("camera_enabled", "mic_enabled", "recording_consent")
    found = [
        (commit, place, [flag for flag in flags if hasattr(event.body, flag)])
        for commit in history
        for place, event in enumerate(commit)
        if type(event.body) in _OTHER_KIND or any(hasattr(event.body, flag) for flag in flags)
    ]
    if not found:
        return None
    commit, place, there = chance.choice(found)
    body: Any = commit[place].body
    if there:
        flag = chance.choice(there)
        body = replace(body, **{flag: not getattr(body, flag)})
    else:
        other: Any = _OTHER_KIND[type(body)]
        body = other(**{name: getattr(body, name) for name in body.__struct_fields__})
    commit[place] = replace(commit[place], body=body)
    return history


def _change_reason(chance: random.Random, history: History) -> History | None:
    def other(known: Any) -> Any:
        return chance.choice([reason for reason in type(known) if reason is not known])

    return _altered(chance, history, "reason", other, of=(LeftReason, EndReason, PermissionReason))


def _change_connection(chance: random.Random, history: History) -> History | None:
    """Let a seat be taken on another user's connection."""
    users = [event.body.user_id for commit in history for event in commit if isinstance(event.body, ParticipantJoined)]
    return _altered(chance, history, "connection_id", lambda _: laptop(chance.choice([*users, ANNA])))


def _shift(chance: random.Random, history: History) -> History | None:
    """Let a commit, and all before it, happen earlier, but never earlier than the lobby allows."""
    last = chance.randrange(len(history))
    by = timedelta(seconds=chance.choice((0.001, 1, 15, 60)))
    return [
        [replace(event, at=event.at - by) if number <= last else event for event in commit]
        for number, commit in enumerate(history)
    ]


def _tear(chance: random.Random, history: History) -> History | None:
    """Let a consequence be in a commit of its own."""
    found = [
        (number, place)
        for number, commit in enumerate(history)
        for place, event in enumerate(commit)
        if place and isinstance(event.body, RecordingPermitted | RecordingWithdrawn)
    ]
    if not found:
        return None
    number, place = chance.choice(found)
    commit = history[number]
    history[number : number + 1] = [commit[:place], commit[place:]]
    return history


def _altered(
    chance: random.Random, history: History, name: str, other: Callable[[Any], Any], of: tuple[type, ...] = (object,)
) -> History | None:
    found = [
        (commit, place)
        for commit in history
        for place, event in enumerate(commit)
        if isinstance(getattr(event.body, name, None), of) and getattr(event.body, name, None) is not None
    ]
    if not found:
        return None
    commit, place = chance.choice(found)
    body: Any = commit[place].body
    value = other(getattr(body, name))
    if value == getattr(body, name):
        return None
    commit[place] = replace(commit[place], body=replace(body, **{name: value}))
    return history


MUTATIONS: dict[str, Mutation] = {
    "drop": _drop,
    "double": _double,
    "swap": _swap,
    "change user": _change_user,
    "flip": _flip,
    "change reason": _change_reason,
    "change connection": _change_connection,
    "shift": _shift,
    "tear": _tear,
}
"""By name, what breaks one thing of a history (which it may alter in place); None where there is nothing to break."""


def mutated(chance: random.Random, kind: str, history: History) -> History | None:
    """Return a history in which one thing is broken, dense again; None if it has nothing of that kind."""
    broken = MUTATIONS[kind](chance, [list(commit) for commit in history])
    return None if broken is None else renumbered(broken)
