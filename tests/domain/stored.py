"""Commits as a journal hands them to `find_flaws`: plain data with wire times. A second way of writing, not the first.

Written with nothing but the standard library, from the words of the contract, so that it can be held against what
`ledger` does.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from coordinator.domain.ledger import Commit, plain_data

Stored = dict[str, Any]
Salts = dict[str, str]
"""The salts of those who have joined so far."""


def rfc3339(instant: datetime) -> str:
    """Write an instant, which is in UTC, with milliseconds and `Z`."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03}Z"


def stored_form(commits: Iterable[Commit]) -> list[Stored]:
    """Return commits as `{id, sessionId, seq, at, events: [{seq, type, at, actor, data, salt?}], prevHash, hash}`."""
    return [
        {
            "id": commit.id,
            "sessionId": commit.session_id,
            "seq": commit.seq,
            "at": rfc3339(commit.at),
            "events": [
                {
                    "seq": event.seq,
                    "type": event.body.kind,
                    "at": rfc3339(event.at),
                    "actor": {"userId": str(event.actor.user_id), "role": event.actor.role.value},
                    "data": {
                        key: rfc3339(value) if isinstance(value, datetime) else value
                        for key, value in plain_data(event.body).items()
                    },
                    **({} if event.salt is None else {"salt": event.salt}),
                }
                for event in (sealed.event for sealed in commit.events)
            ],
            "prevHash": commit.prev_hash,
            "hash": commit.hash,
        }
        for commit in commits
    ]


def canonical(value: Any) -> bytes:
    """Write plain data as canonical JSON: UTF-8, keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(salt: str, text: str) -> str:
    """Compute what makes a pseudonym."""
    return hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()[:32]


def pseudonym(salt: str, user: str) -> str:
    return f"erased-{digest(salt, user)}"


def line(event: Stored, session_id: str, salts: Salts) -> bytes:
    """Write what the chain covers of an event, and note in `salts` who joins."""
    shown: Any = {**json.loads(json.dumps(event)), "sessionId": session_id}
    salt, actor, data = shown.pop("salt", None), shown["actor"], shown["data"]
    here = dict(salts)
    if salt is not None and event["type"] == "participant_joined":
        here[data["userId"]] = salts[data["userId"]] = salt
    elif salt is not None:
        here[actor["userId"]] = salt
    if actor["role"] != "system" and actor["userId"] in here:
        actor["userId"] = pseudonym(here[actor["userId"]], actor["userId"])
    if (subject := data.get("userId")) in here:
        data["userId"] = pseudonym(here[subject], subject)
        if "url" in data:
            data["url"] = f"https://erased.invalid/{digest(here[subject], data['url'])}"
        if "message" in data:
            data["message"] = f"erased-{digest(here[subject], data['message'])}"
        if event["type"] == "user_erased":
            salts.pop(subject, None)
    return canonical(shown)


def chain_hash(commit: Stored, salts: Salts | None = None) -> str:
    """Compute the hash that a stored commit ought to have, after commits that left `salts` behind."""
    salts = {} if salts is None else salts
    head = {key: commit[key] for key in ("at", "id", "prevHash", "seq", "sessionId")}
    lines = [canonical(head), *(line(event, commit["sessionId"], salts) for event in commit["events"])]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def salts_before(log: list[Stored], place: int) -> Salts:
    """Return what the commits before the one at `place` leave behind."""
    salts: Salts = {}
    for commit in log[:place]:
        chain_hash(commit, salts)
    return salts
