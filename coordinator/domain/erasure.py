"""Rewriting a session's log without a user: what its hash chain covers of that user takes the user's place.

Owns what is to be replaced, and in which order the commits are to be written anew; `pseudonyms` owns by what. It is
done from the end of the log to its beginning: as long as anything is left to do, the first mention of the user is still
there to find it by, and so is the salt that the rest depends on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from coordinator.domain.events import Actor, Event, EventBody, ParticipantJoined, Role
from coordinator.domain.evolve import fold
from coordinator.domain.ids import UserId
from coordinator.domain.ledger import Commit, seal
from coordinator.domain.pseudonyms import NOBODY, PERSONAL_TEXTS, Alias, alias_of, owner_of_salt
from coordinator.domain.state import SessionState


class UnfitForErasureError(Exception):
    """Written anew, a commit would have another hash: it was tampered with, or written by a later version."""


def names(commits: Iterable[Commit], user_id: UserId) -> bool:
    """Tell whether any event of these commits is by a user or about it."""
    return any(
        _is_by(sealed.event, user_id) or _is_about(sealed.event, user_id) for c in commits for sealed in c.events
    )


def is_about(commits: Iterable[Commit], user_id: UserId) -> bool:
    """Tell whether any event of these commits is about a user: whether the user has been in the session."""
    return any(_is_about(sealed.event, user_id) for commit in commits for sealed in commit.events)


def rewritten_without(commits: Sequence[Commit], user_id: UserId) -> list[Commit]:
    """Return those of a session's commits that change when a user is erased, the last first, each with its own hash.

    Where an old version wrote the user down without a salt, the chain covers the id itself, and it stays.

    Args:
        commits: All of them, in order; some may have been rewritten already.
        user_id: The user.

    Raises:
        UnfitForErasureError: The log is not what was written.
    """
    rewritten: list[Commit] = []
    state: SessionState | None = None
    for commit in commits:
        candidate = _without(commit, user_id, NOBODY if state is None else state.aliases)
        if candidate is not commit:
            rewritten.append(candidate)
        state = fold((sealed.event for sealed in commit.events), state)
    return rewritten[::-1]


def _without(commit: Commit, user_id: UserId, aliases: Mapping[UserId, Alias]) -> Commit:
    events = []
    in_session = aliases.get(user_id)
    for event in (sealed.event for sealed in commit.events):
        alias = in_session
        if event.salt is not None and owner_of_salt(event) == user_id:
            alias = alias_of(user_id, event.salt)
            if isinstance(event.body, ParticipantJoined):
                in_session = alias
        events.append(event if alias is None else _event_without(event, user_id, alias))
    if all(sealed.event is event for sealed, event in zip(commit.events, events, strict=True)):
        return commit
    rewritten = seal(commit.id, events, commit.prev_hash, aliases)
    if rewritten.hash != commit.hash:
        raise UnfitForErasureError(f"session {commit.session_id} seq {commit.seq}: the hash does not match the content")
    return rewritten


def _event_without(event: Event, user_id: UserId, alias: Alias) -> Event:
    changes: dict[str, Any] = {}
    if _is_by(event, user_id):
        changes["actor"] = Actor(user_id=alias.pseudonym, role=event.actor.role)
    if _is_about(event, user_id):
        changes["body"] = _body_without(event.body, alias)
    if event.salt is not None and owner_of_salt(event) == user_id:
        changes["salt"] = None
    return replace(event, **changes) if changes else event


def _body_without(body: Any, alias: Alias) -> EventBody:
    changes: dict[str, Any] = {"user_id": alias.pseudonym}
    for name in PERSONAL_TEXTS:
        text = getattr(body, name, None)
        if text is not None:
            changes[name] = alias.text(name, text)
    without: EventBody = replace(body, **changes)
    return without


def _is_by(event: Event, user_id: UserId) -> bool:
    return event.actor.user_id == user_id and event.actor.role is not Role.SYSTEM


def _is_about(event: Event, user_id: UserId) -> bool:
    return getattr(event.body, "user_id", None) == user_id
