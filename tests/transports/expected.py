"""What the documents in MongoDB and the answers over HTTP must be, derived from nothing but the events of a session.

Owns a second, much simpler reading of the log than the coordinator's own, so that the two can disagree.
"""

from datetime import datetime
from typing import Any

from bson import ObjectId

from tests.transports.harness import Document, Live, utc

_SESSION_TYPES = {
    "_id": ObjectId,
    "timeSlotId": ObjectId,
    "targetLanguageCode": str,
    "level": str,
    "status": str,
    "recordingEnabled": bool,
    "createdAt": datetime,
    "updatedAt": datetime,
    "scheduledStart": datetime,
    "scheduledEnd": datetime,
    "startedAt": datetime,
    "endedAt": datetime,
    "endReason": str,
    "nextDeadline": datetime,
    "seq": int,
}
_PARTICIPANT_TYPES = {
    "_id": ObjectId,
    "sessionId": ObjectId,
    "userId": str,
    "status": str,
    "cameraEnabled": bool,
    "micEnabled": bool,
    "recordingConsent": bool,
    "joinedAt": datetime,
    "leftAt": datetime,
    "seq": int,
}
_SWITCHES = {
    "camera_changed": "cameraEnabled",
    "mic_changed": "micEnabled",
}
_CONSENTS = {"recording_consent_granted": True, "recording_consent_revoked": False}
_ABSENCES = {"participant_disconnected", "participant_left"}


def expected_session(events: list[Any]) -> Document:
    """Return the session's document after these events, but for `nextDeadline`."""
    opened = events[0]
    document: Document = {
        "_id": ObjectId(opened["sessionId"]),
        "timeSlotId": ObjectId(opened["data"]["timeSlotId"]),
        "targetLanguageCode": opened["data"]["targetLanguageCode"],
        "level": opened["data"]["level"],
        "status": "waiting",
        "recordingEnabled": False,
        "createdAt": utc(opened["at"]),
        "updatedAt": utc(events[-1]["at"]),
        "scheduledStart": utc(opened["data"]["scheduledStart"]),
        "scheduledEnd": utc(opened["data"]["scheduledEnd"]),
        "seq": events[-1]["seq"],
    }
    for event in events:
        if event["type"] == "session_started":
            document |= {"status": "active", "startedAt": utc(event["at"])}
        elif event["type"] == "session_ended":
            document |= {"status": "ended", "endedAt": utc(event["at"]), "endReason": event["data"]["reason"]}
    return document


def expected_participants(events: list[Any]) -> dict[str, Document]:
    """Return the participants' documents after these events by user, but for `_id`."""
    documents: dict[str, Document] = {}
    present_status = "waiting"
    for event in events:
        data, at, seq = event["data"], utc(event["at"]), event["seq"]
        if event["type"] == "session_started":
            present_status = "connected"
            for document in documents.values():
                if document["status"] == "waiting":
                    document |= {"status": "connected", "seq": seq}
        if "userId" not in data:
            continue
        document = documents.setdefault(
            data["userId"],
            {"sessionId": ObjectId(event["sessionId"]), "userId": data["userId"], "joinedAt": at},
        )
        document["seq"] = seq
        match event["type"]:
            case "participant_joined":
                document |= {name: data[name] for name in ("cameraEnabled", "micEnabled", "recordingConsent")}
                document["status"] = present_status
                document.pop("leftAt", None)
            case "participant_reconnected":
                document["status"] = present_status
                document.pop("leftAt", None)
            case kind if kind in _ABSENCES:
                document["status"] = "disconnected"
                document.setdefault("leftAt", at)
            case kind if kind in _SWITCHES:
                document[_SWITCHES[kind]] = data[_SWITCHES[kind]]
            case kind if kind in _CONSENTS:
                document["recordingConsent"] = _CONSENTS[kind]
    return documents


def check_types(document: Document, types: dict[str, type]) -> None:
    """Check that a document has no field but these, each of exactly this type."""
    wrong = {name: type(value) for name, value in document.items() if type(value) is not types.get(name)}
    assert not wrong


def check_commits(commits: list[Document], events: list[Any]) -> None:
    """Check the documents of the journal: types, order, and that they hold these events."""
    stored: list[Any] = []
    previous = "0" * 64
    for commit in commits:
        check_types(
            commit,
            {
                "_id": ObjectId,
                "sessionId": ObjectId,
                "seq": int,
                "at": datetime,
                "events": list,
                "prevHash": str,
                "hash": str,
            },
        )
        assert commit["seq"] == len(stored) + 1
        assert commit["prevHash"] == previous
        assert commit["at"] == commit["events"][-1]["at"]
        previous = commit["hash"]
        for event in commit["events"]:
            check_types(event, {"seq": int, "type": str, "at": datetime, "actor": dict, "data": dict, "salt": str})
            check_types(event["actor"], {"userId": str, "role": str})
        stored += [{**event, "sessionId": str(commit["sessionId"])} for event in commit["events"]]
    salts = [event.pop("salt", None) for event in stored]  # which nobody is shown
    assert [_as_on_wire(event) for event in stored] == events
    joined: set[str] = set()
    for event, salt in zip(events, salts, strict=True):
        is_join = event["type"] == "participant_joined"
        newcomer = event["data"]["userId"] if is_join else event["actor"]["userId"]
        assert (salt is not None) is (event["actor"]["role"] != "system" and newcomer not in joined)
        joined |= {newcomer} if is_join else set()


async def check_everything(live: Live, session_id: str, events: list[Any]) -> Document:
    """Check every field of every document of a session, and that HTTP says the same.

    Args:
        live: The coordinator.
        session_id: The session.
        events: All its events so far, as its subscribers got them.

    Returns:
        The session's document.
    """
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    session = await live.stored_at(session_id, len(events))
    participants = live.participants(session_id)
    check_types(session, _SESSION_TYPES)
    for document in participants.values():
        check_types(document, _PARTICIPANT_TYPES)
    wanted = expected_session(events)
    assert {name: value for name, value in session.items() if name != "nextDeadline"} == wanted
    assert ("nextDeadline" in session) is (session["status"] != "ended")
    without_ids = {
        user: {name: value for name, value in document.items() if name != "_id"}
        for user, document in participants.items()
    }
    assert without_ids == expected_participants(events)
    check_commits(live.commits(session_id), events)
    await _check_http(live, session_id, session, participants, events)
    return session


async def _check_http(
    live: Live, session_id: str, session: Document, participants: dict[str, Document], events: list[Any]
) -> None:
    path = f"/api/v1/sessions/{session_id}"
    shown = (await live.get(path)).json
    assert shown == {"recordings": [], **_as_on_wire(session)}
    shown = (await live.get(f"{path}/participants")).json
    in_order = sorted(participants.values(), key=lambda document: (document["joinedAt"], document["userId"]))
    assert shown == {"items": [_as_on_wire(document) for document in in_order]}
    assert (await live.get(f"{path}/events", limit=1000)).json == {"items": events}


def _as_on_wire(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, dict):
        return {name.removeprefix("_"): _as_on_wire(item) for name, item in value.items()}
    return value
