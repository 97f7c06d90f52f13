"""Erasing a user from a log, and everything that must hold before, during and after it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coordinator.domain.decide import decide
from coordinator.domain.erasure import rewritten_without
from coordinator.domain.events import Event
from coordinator.domain.evolve import fold
from coordinator.domain.ids import UserId
from coordinator.domain.ledger import Commit, find_flaws
from coordinator.domain.state import SessionState
from tests.domain.stored import Stored, canonical, stored_form
from tests.domain.story import SESSION, erase, salt, sealed_log


def folded(commits: Iterable[Commit]) -> SessionState | None:
    return fold(sealed.event for commit in commits for sealed in commit.events)


def with_replaced(commits: Sequence[Commit], rewritten: Sequence[Commit]) -> list[Commit]:
    """A log in which some commits were written anew."""
    anew = {commit.id: commit for commit in rewritten}
    return [anew.get(commit.id, commit) for commit in commits]


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in plain data, with the name of its field."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, name)


def names_user(event: Stored, user: UserId) -> bool:
    return user in (event["actor"]["userId"], event["data"].get("userId"))


def secrets_of(log: Sequence[Stored], user: UserId) -> set[str]:
    """What must be nowhere once a user is erased: the id, the salts, and what was said of nobody but the user."""
    found = {str(user)}
    said: set[str] = set()
    of_others: set[str] = set()
    for event in (event for commit in log for event in commit["events"]):
        owner = event["data"].get("userId") if event["type"] == "participant_joined" else event["actor"]["userId"]
        if owner == user and "salt" in event:
            found.add(event["salt"])
        if event["data"].get("userId") == user:
            said |= {event["data"][name] for name in ("url", "message") if name in event["data"]}
        else:
            of_others |= {text for _, text in texts(event)}
    return found | {text for text in said if not any(text in other for other in of_others)}


def erased(story_commits: Sequence[list[Event]], user: UserId, *, looks: int = 1000) -> list[Commit]:
    """Erase a user from the log of a session that is over; return the log after it, all of it checked.

    Args:
        story_commits: The log so far.
        user: The user.
        looks: At how many places at most to look at the work half done.
    """
    before = fold(event for events in story_commits for event in events)
    assert before is not None
    decision = decide(SESSION, before, erase(user), before.updated_at, salt(999_999))
    commits = [*story_commits, decision.events] if decision.events else list(story_commits)
    log = sealed_log(commits)
    stored = stored_form(log)
    rewritten = rewritten_without(log, user)
    for done in range(0, len(rewritten) + 1, 1 + len(rewritten) // looks):
        check_half_way(log, rewritten[:done], user, decision.state)
    after = with_replaced(log, rewritten)
    check_half_way(log, rewritten, user, decision.state)
    assert rewritten_without(after, user) == []
    # In these stories the name of a connection holds that of its user; a real one is named by its node and a number.
    hidden = secrets_of(stored, user)
    found = {(name, text) for name, text in texts(stored_form(after)) if name not in ("connectionId", "role")}
    assert {(name, text) for name, text in found for secret in hidden if secret in text} == set()
    check_everything_else(stored, stored_form(after), user)
    return after


def check_half_way(log: Sequence[Commit], done: Sequence[Commit], user: UserId, state: SessionState | None) -> None:
    """However much is rewritten, the log reads alike, is proved alike, and the rest is still found."""
    now = with_replaced(log, done)
    assert folded(now) == state
    assert find_flaws(SESSION, stored_form(now)) == []
    assert [commit.hash for commit in now] == [commit.hash for commit in log]
    assert rewritten_without(now, user) == rewritten_without(log, user)[len(done) :]


def check_everything_else(before: Sequence[Stored], after: Sequence[Stored], user: UserId) -> None:
    """Events that do not name the user are the same to the byte, and so is all but the events."""
    for one, other in zip(before, after, strict=True):
        assert {**one, "events": []} == {**other, "events": []}
        for event, event_after in zip(one["events"], other["events"], strict=True):
            if names_user(event, user):
                assert (event["seq"], event["type"], event["at"]) == (
                    event_after["seq"],
                    event_after["type"],
                    event_after["at"],
                )
            else:
                assert canonical(event) == canonical(event_after)
