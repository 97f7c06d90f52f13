"""Whatever a moderator or a recorder sends is answered: a refusal with code and field, and nothing has changed.

All rows of the table go to one coordinator: through one connection in `/moderation` that watches nothing, and one in
`/recording` that reads for a consumer. What is common to all namespaces is in `test_bad_payloads`.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coordinator.domain.errors import ERRORS
from coordinator.domain.events import Role
from tests.transports.clients import MODERATION, RECORDING, RawClient
from tests.transports.harness import UNLIMITED, Document, Live, running_live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SESSION = "5e55105e55105e55105e5510"
"""Stands for the real session's id in the table."""
_NOBODYS = "0123456789abcdef01234567"
_NOW = "2040-01-01T00:00:00.000Z"
_INVALID = "invalid_request"
_LONG = "x" * 66_000

# Wrong values of each kind of field. None is left out where leaving out is allowed.
_NOT_TEXTS: list[Any] = [7, 1.5, True, False, [], {}, ["x"], {"$ne": None}]
_NOT_IDS: list[Any] = [
    *(
        *_NOT_TEXTS,
        "",
        _SESSION[1:],
        _SESSION + "0",
        _SESSION + "\n",
        _SESSION.upper(),
        "g" * 24,
        "\x00" * 24,
        "😀" * 24,
    ),
    *("../../etc/passwd", "x" * 30_000),
]
_NOT_USERS: list[Any] = [*_NOT_TEXTS, "", "u" * 129]
_NOT_SEQS: list[Any] = [-1, 2**53, 10**30, 0.5, "0", True, [], {}]
_NOT_SWITCHES: list[Any] = ["true", "", 1, 0, 0.0, [], [True], {}]
_NOT_REASONS: list[Any] = [*_NOT_TEXTS, "", "r" * 501]
_NOT_CONSUMERS: list[Any] = [
    *(*_NOT_TEXTS, "", "c" * 65, "a b", "a/b", "a\n", "\n", "a\x00", "é", "😀", "../x", "a$b", "a:b", "x" * 30_000),
]
_NOT_CURSORS: list[Any] = [*_NOT_TEXTS, "", "c" * 1025]
_NO_CURSORS: list[Any] = ["x", "s.", "s.a.b", "s..", "c.abc", "beginning ", "Beginning", "😀", "\n", "s.a b", "S.abc"]
_NOT_URLS: list[Any] = [
    *(*_NOT_TEXTS, "", "x", "http://r2.cloudflarestorage.com/a", "https:// r2.cloudflarestorage.com", "https://"),
    "https://r2.cloudflarestorage.com/".ljust(2049, "x"),
]
_NOT_INSTANTS: list[Any] = [
    *(*_NOT_TEXTS, "", "now", "2040-01-01", "2040-01-01T00:00:00", "2040-01-01 00:00:00Z", "2040-13-01T00:00:00Z"),
    *("2040-01-01T00:00:00+0000", "2040-01-01T24:00:00Z", "0000-01-01T00:00:00Z", _NOW + "\n", "1e9"),
]

_GOOD: dict[str, dict[str, Any]] = {
    "watch": {"sessionId": _SESSION, "after": 0},
    "unwatch": {"sessionId": _SESSION},
    "mute": {"sessionId": _SESSION, "userId": "ada"},
    "remove": {"sessionId": _SESSION, "userId": "ada", "reason": "be kind"},
    "end_session": {"sessionId": _SESSION},
    "set_recording": {"sessionId": _SESSION, "enabled": True},
    "subscribe": {"consumer": "other", "after": "beginning"},
    "ack": {"cursor": "s.abc"},
    "attach_recording": {
        "userId": "ada",
        "sessionId": _SESSION,
        "url": "https://r2.cloudflarestorage.com/a",
        "startTime": _NOW,
    },
}
"""What would do something; each row is one of these with something wrong in it."""
_RECORDING = ("subscribe", "ack", "attach_recording")
_WRONG: dict[tuple[str, str], list[Any]] = {
    **{(name, "sessionId"): _NOT_IDS for name, good in _GOOD.items() if "sessionId" in good},
    **{(name, "userId"): _NOT_USERS for name, good in _GOOD.items() if "userId" in good},
    ("watch", "after"): _NOT_SEQS,
    ("watch", "all"): [*_NOT_SWITCHES, False],
    ("unwatch", "all"): [*_NOT_SWITCHES, False],
    ("remove", "reason"): _NOT_REASONS,
    ("set_recording", "enabled"): [None, *_NOT_SWITCHES],
    ("subscribe", "consumer"): [None, *_NOT_CONSUMERS],
    ("subscribe", "after"): [*_NOT_CURSORS, *_NO_CURSORS],
    ("ack", "cursor"): [None, *_NOT_CURSORS, *_NO_CURSORS, "beginning"],
    ("attach_recording", "url"): [None, *_NOT_URLS],
    ("attach_recording", "startTime"): [None, *_NOT_INSTANTS],
}
_OPTIONAL = {("watch", "after"), ("remove", "reason"), ("subscribe", "after")}
_ARGUMENTS: list[tuple[Any, ...]] = [(None,), ([],), ("text",), (7,), (True,), ({}, {}), ({"all": True}, None)]
"""What is no single object."""


def _event(name: str, *arguments: Any) -> str:
    return json.dumps([name, *arguments], ensure_ascii=False)


def _with(name: str, **fields: Any) -> str:
    return _event(name, _GOOD[name] | fields)


def _without(name: str, *fields: str) -> str:
    return _event(name, {key: value for key, value in _GOOD[name].items() if key not in fields})


# What is sent, as the text of the event's array; the code of the refusal; the field that it names.
_ROWS: list[tuple[str, str, str | None]] = [
    *((_with(name, **{field: value}), _INVALID, field) for (name, field), values in _WRONG.items() for value in values),
    *(
        (_without(name, field), _INVALID, field)
        for name, good in _GOOD.items()
        for field in good
        if (name, field) not in _OPTIONAL
    ),
    *((_event(name), _INVALID, next(iter(good))) for name, good in _GOOD.items()),
    *((_event(name, *arguments), _INVALID, None) for name in _GOOD for arguments in _ARGUMENTS),
    *(
        (_with(name, **{unknown: 1}), _INVALID, unknown)
        for name in _GOOD
        for unknown in ("x", "session_id", "__proto__")
    ),
    *((_with(name, userId="ada"), _INVALID, "userId") for name in ("watch", "end_session", "set_recording", "ack")),
    *((_with(name, reason="x"), _INVALID, "reason") for name in ("mute", "end_session")),
    (_with("mute", micEnabled=True), _INVALID, "micEnabled"),
    # One session, or all.
    *((_with(name, all=True), _INVALID, "all") for name in ("watch", "unwatch")),
    *((_event(name, {"all": None}), _INVALID, "sessionId") for name in ("watch", "unwatch")),
    *((_event(name, {"sessionId": None}), _INVALID, "sessionId") for name in ("watch", "unwatch")),
    *((_event(name, {"everything": True}), _INVALID, "everything") for name in ("watch", "unwatch")),
    (_event("watch", {"all": True, "after": 0}), _INVALID, "after"),
    (_event("unwatch", {"sessionId": _SESSION, "after": 0}), _INVALID, "after"),
    # Right in form, and yet refused.
    *(
        (_with(name, sessionId=_NOBODYS), "not_found", None)
        for name in ("watch", "mute", "remove", "end_session", "set_recording", "attach_recording")
    ),
    *(
        (_with(name, userId=user), "not_in_session", None)
        for name in ("mute", "remove")
        for user in ("cy", "nobody", "mona", "😀\x00")
    ),
    (_with("attach_recording", userId="nobody"), "recording_not_permitted", "userId"),
    (_with("attach_recording", url="https://evil.example/a"), "recording_not_permitted", "url"),
    (_with("attach_recording", url='https://r2.cloudflarestorage.com/"'), "recording_not_permitted", "url"),
    (_with("attach_recording"), "recording_not_permitted", "startTime"),
    (_event("subscribe", {"consumer": "other"}), _INVALID, "consumer"),  # this connection reads for another already
    (_event("subscribe", {"consumer": "main", "after": "s.bm9uZQ"}), _INVALID, "after"),
    # Not JSON, or too large.
    *((f'["{name}",{{"sessionId":"\\ud800"}}]', _INVALID, None) for name in ("watch", "attach_recording")),
    *((f'["{name}",{{"sessionId":', _INVALID, None) for name in ("watch", "subscribe")),
    *((_event(name, {"x": _LONG}), "payload_too_large", None) for name in _GOOD),
]


class _House:
    """One coordinator with a session, a moderator and a recorder."""

    def __init__(self, live: Live, session_id: str, mona: RawClient, rec: RawClient) -> None:
        self.live = live
        self.session_id = session_id
        self.mona = mona
        self.rec = rec
        self.before = self.stored()

    def client_of(self, text: str) -> tuple[RawClient, str]:
        is_recording = any(text.startswith(f'["{name}"') for name in _RECORDING)
        return (self.rec, RECORDING) if is_recording else (self.mona, MODERATION)

    def stored(self) -> list[Document]:
        names = ("events", "sessions", "participants", "timeslots", "registrations", "consumers", "marks")
        return [document for name in names for document in self.live.database[name].find().sort("_id", 1)]

    def check_unharmed(self) -> None:
        """Check that nothing is stored that was not, and that nobody watches."""
        assert [_steady(document) for document in self.stored()] == [_steady(document) for document in self.before]
        assert all(not room.watchers for room in self.live.coordinator.rooms.loaded)
        assert self.live.coordinator._overview._watchers == {}


def _steady(document: Document) -> Document:
    """A document without what moves on by itself: an idle consumer's place."""
    return {name: value for name, value in document.items() if name not in ("cursor", "upTo")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(no_errors_in_module: None) -> AsyncIterator[_House]:
    async with running_live(UNLIMITED) as live:
        offer = await live.offer("ada", "bo", "cy")
        await live.join("ada", offer.session_id)
        await live.join("bo", offer.session_id)
        await live.stored_at(offer.session_id, 4)
        mona, rec = await live.raw(), await live.raw()
        await mona.connect({"token": live.token("mona", Role.MODERATOR)}, MODERATION)
        await rec.connect({"token": live.token("rec", Role.RECORDER)}, RECORDING)
        assert (await rec.call("subscribe", {"consumer": "main"}, RECORDING))["ok"]
        yield _House(live, offer.session_id, mona, rec)


def _check_refusal(reply: Any, code: str, field: str | None) -> None:
    assert reply.keys() == {"ok", "error"}, reply
    assert reply["ok"] is False
    error = reply["error"]
    assert error.keys() - {"field"} == {"code", "message", "retryable"}
    assert (error["code"], error.get("field")) == (code, field), error
    assert error["retryable"] is ERRORS[code].retryable
    assert isinstance(error["message"], str)
    assert 0 < len(error["message"]) < 600


def _label(row: int) -> str:
    text, code, field = _ROWS[row]
    return f"{row}-{text[:60].encode('ascii', 'replace').decode()}-{field or code}".replace("\x00", "0")


@pytest.mark.parametrize("row", range(len(_ROWS)), ids=_label)
async def test_a_bad_event_is_refused_and_changes_nothing(house: _House, row: int) -> None:
    text, code, field = _ROWS[row]
    client, namespace = house.client_of(text)
    ack_id = await client.send_event(text.replace(_SESSION, house.session_id), namespace)
    _check_refusal(await client.wait_ack(ack_id, namespace), code, field)
    house.check_unharmed()


async def test_there_are_enough_rows() -> None:
    assert len(_ROWS) >= 300
    assert len({row[0] for row in _ROWS}) == len(_ROWS)
    assert {json.loads(text)[0] for text, code, _ in _ROWS if code == _INVALID and text.endswith("}]")} == _GOOD.keys()


async def test_what_is_good_in_the_table_does_something() -> None:
    """Otherwise all the rows above would prove nothing."""
    async with running_live(UNLIMITED) as live:
        offer = await live.offer("ada", "bo")
        ada = await live.join("ada", offer.session_id)
        await live.join("bo", offer.session_id)
        await ada.call("set_recording_consent", {"granted": True})
        mona, rec = await live.moderator(), await live.recorder()
        for name in ("watch", "set_recording", "mute"):
            reply = await mona.call(name, _GOOD[name] | {"sessionId": offer.session_id})
            assert reply["ok"], reply
        subscribed = await rec.call("subscribe", _GOOD["subscribe"])
        assert subscribed["ok"]
        permitted = await mona.wait_for("recording_permitted")
        good = _GOOD["attach_recording"] | {"sessionId": offer.session_id, "startTime": permitted["at"]}
        assert (await rec.call("attach_recording", good))["ok"]
        assert (await rec.call("ack", {"cursor": subscribed["cursor"]}))["ok"]
        for name in ("unwatch", "remove", "end_session"):
            reply = await mona.call(name, _GOOD[name] | {"sessionId": offer.session_id})
            assert reply["ok"], reply
