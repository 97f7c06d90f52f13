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


def rfc3339(instant: datetime) -> str:
    """Write an instant, which is in UTC, with milliseconds and `Z`."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03}Z"


def stored_form(commits: Iterable[Commit]) -> list[Stored]:
    """Return commits as `{id, sessionId, seq, at, events: [{seq, type, at, actor, data}], prevHash, hash}`."""
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


def chain_hash(commit: Stored) -> str:
    """Compute the hash that a stored commit ought to have."""
    head = {key: commit[key] for key in ("at", "id", "prevHash", "seq", "sessionId")}
    lines = [canonical(head), *(canonical({**event, "sessionId": commit["sessionId"]}) for event in commit["events"])]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()
