"""Pseudonyms: how a log can forget a user and still be proved.

The hash chain never covers a user's id. It covers a pseudonym made of the id and of a random *salt*, one for each user
and session, which is stored beside the event that introduces the user and is never shown to anyone:

    pseudonym = "erased-" + the first 32 hex digits of SHA-256( salt ":" user id )

The salt stands in the stored event's field `salt`. It belongs to `data.userId` of a `participant_joined` whose user was
not in the session before, and holds for that user in all that follows; in any other event it belongs to `actor.userId`,
who is neither the coordinator nor ever joined before, and holds for that one event.

What the chain covers of an event is the event without `salt`, in which a user who has a salt is replaced by its
pseudonym (in `actor.userId` unless the role is `system`, and in `data.userId`), and with `data.userId` the personal
texts beside it by digests made likewise: `data.url` by `https://erased.invalid/<32 hex digits>`, `data.message` by
`erased-<32 hex digits>`. Everything else, and every user without a salt, is covered as it stands.

So a user is erased by writing into the log what the chain covers anyway, and by dropping the salt: no hash changes, and
without the salt nobody can find out whose pseudonym it is, not even by trying every id there is. Nothing here knows how
a salt is made.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from coordinator.domain.events import EVENT_TYPES, Actor, Event, EventBody, ParticipantJoined, Role, UserErased
from coordinator.domain.ids import UserId

_SALT = re.compile("[0-9a-f]{32}")
_PREFIX = "erased-"
_PSEUDONYM = re.compile(f"{_PREFIX}[0-9a-f]{{32}}")
PERSONAL_TEXTS = {"url": "https://erased.invalid/", "message": _PREFIX}
"""What an event can say of its user beside the id, and what comes before the digest that takes its place."""
_DIGITS = 32
_SYSTEM = str(Role.SYSTEM)


def is_salt(value: object) -> bool:
    """Tell whether `value` has the form of a salt: 32 lower-case hex digits, 128 random bits."""
    return isinstance(value, str) and _SALT.fullmatch(value) is not None


def is_pseudonym(user_id: str) -> bool:
    """Tell whether an id has the form of a pseudonym; such an id stands for itself and never gets a salt."""
    return user_id.startswith(_PREFIX) and _PSEUDONYM.fullmatch(user_id) is not None


def random_pseudonym(salt: str) -> UserId:
    """Return a pseudonym that says nothing of anyone: a random salt itself."""
    return UserId(_PREFIX + salt)


class Alias(msgspec.Struct, frozen=True, gc=False):
    """A user's salt in one session, and the pseudonym that follows from it."""

    salt: str
    pseudonym: UserId

    def text(self, name: str, text: str) -> str:
        """Return what the chain covers in place of one of the `PERSONAL_TEXTS`."""
        return PERSONAL_TEXTS[name] + _digest(self.salt, text)


NOBODY: Mapping[UserId, Alias] = MappingProxyType({})
"""The aliases of a session that nobody with a salt has joined."""


def alias_of(user_id: str, salt: str) -> Alias:
    """Return a user's alias under a salt."""
    return Alias(salt, UserId(_PREFIX + _digest(salt, user_id)))


def owner_of_salt(event: Event) -> UserId:
    """Return the user to whom the salt of an event belongs, if it has one."""
    return event.body.user_id if isinstance(event.body, ParticipantJoined) else event.actor.user_id


class Cast:
    """Who is who in a session, event after event: the aliases of those who have joined so far.

    For events that are being sealed. Those that are stored go through `StoredCast`, which works on plain data and
    shares nothing with this: so each of them proves the other.

    Args:
        aliases: Of those who joined before the first event.
    """

    def __init__(self, aliases: Mapping[UserId, Alias]) -> None:
        self._aliases = aliases

    def alias_throughout(self, event: Event) -> Alias | None:
        """Return the alias of the user who alone is named by the next event, as actor and in `data.userId`.

        Then all that the chain covers differently is that id, both times, and nothing changes for the events after it.
        None: any other case, for which `covered` must be asked.
        """
        actor, body = event.actor, event.body
        user = actor.user_id
        alias = self._aliases.get(user)
        if (
            alias is None
            or type(body) not in _NAMING_ONLY
            or body.user_id != user  # type: ignore[attr-defined]
            or event.salt is not None
            or actor.role is Role.SYSTEM
        ):
            return None
        return alias

    def covered(self, event: Event) -> Event:
        """Return what the chain covers of the next event: the very same object, or one with pseudonyms in it."""
        aliases = self._aliases if event.salt is None else self._with_owner(event, event.salt)
        if not aliases:
            return event
        actor, body = event.actor, event.body
        by = None if actor.role is Role.SYSTEM else aliases.get(actor.user_id)
        user: UserId | None = getattr(body, "user_id", None)
        about = None if user is None else aliases.get(user)
        if by is None and about is None:
            return event
        if by is not None:
            actor = Actor(user_id=by.pseudonym, role=actor.role)
        if about is not None:
            if type(body) is UserErased:
                self._aliases = {known: alias for known, alias in self._aliases.items() if known != user}
            body = _covered_body(body, about)
        return replace(event, actor=actor, body=body)

    def _with_owner(self, event: Event, salt: str) -> Mapping[UserId, Alias]:
        """Return the aliases with that of the owner of a salt; whoever joins keeps it beyond the event."""
        owner = owner_of_salt(event)
        aliases = {**self._aliases, owner: alias_of(owner, salt)}
        if isinstance(event.body, ParticipantJoined):
            self._aliases = aliases
        return aliases


class _PlainCast:
    """As `Cast`, for events as plain data `{seq, type, at, actor, data}`, which is how they are stored."""

    def __init__(self, aliases: Mapping[UserId, Alias]) -> None:
        self._aliases = aliases

    def covered(self, event: dict[str, Any], salt: str | None) -> dict[str, Any]:
        """Return what the chain covers of the next event: the very same object, or one with pseudonyms in it.

        Args:
            event: The event, without its salt.
            salt: Its salt.
        """
        actor, data = event["actor"], event["data"]
        aliases = self._aliases
        if salt is not None:
            is_join = event["type"] == ParticipantJoined.kind
            owner = UserId(data["userId"] if is_join else actor["userId"])
            aliases = {**aliases, owner: alias_of(owner, salt)}
            if is_join:
                self._aliases = aliases
        elif not aliases:
            return event
        by = aliases.get(actor["userId"]) if actor["role"] != _SYSTEM else None
        about = aliases.get(data["userId"]) if "userId" in data else None
        if by is None and about is None:
            return event
        covered = dict(event)
        if by is not None:
            covered["actor"] = {**actor, "userId": by.pseudonym}
        if about is not None:
            covered["data"] = _covered_data(data, about)
            if event["type"] == UserErased.kind:
                self._aliases = {user: alias for user, alias in self._aliases.items() if user != data["userId"]}
        return covered


class StoredCast:
    """Who is who in a stored log, of which nothing is certain: finds salts and pseudonyms that are out of place."""

    def __init__(self) -> None:
        self._cast = _PlainCast(NOBODY)
        self._joined: dict[str, str] = {}
        self._erased: set[str] = set()
        self._subjects: dict[str, int] = {}
        self._actors: dict[str, int] = {}
        self._ever_joined: set[str] = set()

    def covered(self, event: Any, seq: int) -> dict[str, Any] | str:
        """Return what the chain covers of the next event `{seq, type, at, actor, data, salt?}`, or what is wrong.

        Args:
            event: The event as it is stored, whatever that is.
            seq: Of its commit.
        """
        if not _says_who(event):
            return "an event does not say by whom and about whom it is"
        plain = {name: value for name, value in event.items() if name != "salt"}
        problem = self._salt_problem(event) if "salt" in event else None
        covered = self._cast.covered(plain, event.get("salt") if problem is None else None)
        actor, subject = plain["actor"]["userId"], plain["data"].get("userId")
        if subject is not None:
            self._follow(plain["type"], subject, covered["data"]["userId"], seq)
        if is_pseudonym(actor):
            self._actors.setdefault(actor, seq)
        return covered if problem is None else problem

    def _follow(self, kind: str, subject: str, pseudonym: str, seq: int) -> None:
        if is_pseudonym(subject):
            self._subjects.setdefault(subject, seq)
        if kind == ParticipantJoined.kind:
            self._joined[subject] = pseudonym
            self._ever_joined.add(pseudonym)
        elif kind == UserErased.kind:
            self._erased.add(pseudonym)
            # Whoever acts again after having been erased is somebody new.
            self._joined = {user: known for user, known in self._joined.items() if known != pseudonym}

    def unexplained(self) -> list[tuple[int, str]]:
        """Return where a participant is named by a pseudonym in a log that does not say that the user was erased.

        Whoever only acted in a session, as moderators do, is erased from it without such a word.
        """
        acting = {user: seq for user, seq in self._actors.items() if user in self._ever_joined}
        named = {**acting, **self._subjects}
        problem = "names a participant by a pseudonym, and the log does not say that the user was erased"
        return sorted((seq, problem) for user, seq in named.items() if user not in self._erased)

    def _salt_problem(self, event: dict[str, Any]) -> str | None:
        if not is_salt(event["salt"]):
            return "an event's salt has not the form of one"
        actor = event["actor"]
        is_join = event["type"] == ParticipantJoined.kind
        owner = event["data"].get("userId") if is_join else actor["userId"]
        if owner is None or owner in self._joined or is_pseudonym(owner) or (not is_join and actor["role"] == _SYSTEM):
            return "an event has a salt that belongs to nobody"
        return None


def _says_who(event: Any) -> bool:
    if not isinstance(event, dict) or "type" not in event:
        return False
    actor, data = event.get("actor"), event.get("data")
    if not isinstance(actor, dict) or not isinstance(data, dict) or "role" not in actor:
        return False
    # Not of a type that only looks like text: some of those have no hash.
    return type(actor.get("userId")) is str and type(data.get("userId", "")) is str


def _covered_body(body: EventBody, alias: Alias) -> EventBody:
    names = _personal_texts_of(type(body))
    if not names:
        return replace(body, user_id=alias.pseudonym)
    texts = {name: alias.text(name, text) for name in names if isinstance(text := getattr(body, name), str)}
    return replace(body, user_id=alias.pseudonym, **texts)


@functools.cache
def _personal_texts_of(body: type[EventBody]) -> tuple[str, ...]:
    return tuple(name for name in PERSONAL_TEXTS if name in body.__struct_fields__)


_NAMING_ONLY = frozenset(
    body
    for body in EVENT_TYPES.values()
    if "user_id" in body.__struct_fields__ and not _personal_texts_of(body) and body is not UserErased
)
"""Events that say of their user nothing personal but the id, and leave aliases as they are."""


def _covered_data(data: dict[str, Any], alias: Alias) -> dict[str, Any]:
    covered = {**data, "userId": alias.pseudonym}
    for name in PERSONAL_TEXTS:
        text = data.get(name)
        if isinstance(text, str):
            covered[name] = alias.text(name, text)
    return covered


def _digest(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()[:_DIGITS]
