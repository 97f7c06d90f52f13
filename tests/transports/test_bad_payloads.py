"""Whatever a client sends as an event is answered: a refusal with code and field, and nothing has changed.

All rows of the table go to one coordinator, through one connection that sits in a room with another one.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coordinator.domain.errors import ERRORS
from tests.transports.clients import NAMESPACE, RawClient, RoomClient
from tests.transports.harness import UNLIMITED, Document, Live, running_live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SESSION = "5e55105e55105e55105e5510"
"""Stands for the real session's id in the table."""
_OTHERS_SESSION = "0123456789abcdef01234567"
_LONG = "x" * 66_000
_DEEP = "[" * 10_000 + "]" * 10_000


def _event(name: str, *arguments: Any) -> str:
    return json.dumps([name, *arguments], ensure_ascii=False)


def _join(**fields: Any) -> str:
    return _event("join", {"sessionId": _SESSION, **fields})


# What is sent, as the text of the event's array; the code of the refusal; the field that it names.
_INVALID = "invalid_request"
_NOT_A_TEXT: list[Any] = [None, 7, 1.5, True, [], {}]
_NOT_AN_ID: list[Any] = [
    *(*_NOT_A_TEXT, [_SESSION], {"$ne": None}, {"$gt": ""}, "", _SESSION[1:], _SESSION + "0", _SESSION + "\n"),
    *(" " + _SESSION[1:], _SESSION.upper(), "g" * 24, "\x00" * 24, "😀" * 24, "\uff11" * 24, "../../etc/passwd"),
    "x" * 30_000,
]
_NOT_A_SEQ: list[Any] = [-1, -(2**53), 2**53, 2**64, 10**30, 0.5, "0", "", True, [], {}, [0]]
_NOT_A_SWITCH: list[Any] = ["true", "", 1, 0, 0.0, [], [True], {}]
_ROWS: list[tuple[str, str, str | None]] = [
    # Whatever the event, it carries one object.
    *(
        (f'["{name}",{argument}]', _INVALID, None)
        for name in ("join", "leave", "set_media", "set_recording_consent", "signal", "sync")
        for argument in ("null", "[]", '"text"', "7", "true", "{},{}", '{"granted":true},null')
    ),
    (f'["join",{{"sessionId":"{_SESSION}"}},{{"sessionId":"{_SESSION}"}}]', _INVALID, None),
    ('["leave",1.5]', _INVALID, None),
    ('["leave",1e308]', _INVALID, None),
    # join
    (_event("join"), _INVALID, "sessionId"),
    (_event("join", {}), _INVALID, "sessionId"),
    (_event("join", {"after": 0}), _INVALID, "sessionId"),
    *((_event("join", {"sessionId": wrong}), _INVALID, "sessionId") for wrong in _NOT_AN_ID),
    ('["join",{"sessionId":"\\ud800"}]', _INVALID, None),
    ('["join",{"sessionId":"\\u0000\\u0000"}]', _INVALID, "sessionId"),
    *((_join(after=wrong), _INVALID, "after") for wrong in _NOT_A_SEQ),
    (f'["join",{{"sessionId":"{_SESSION}","after":1e400}}]', _INVALID, None),
    (f'["join",{{"sessionId":"{_SESSION}","after":NaN}}]', _INVALID, None),
    (f'["join",{{"sessionId":"{_SESSION}","after":Infinity}}]', _INVALID, None),
    (_join(afer=0), _INVALID, "afer"),
    (_join(userId="bo"), _INVALID, "userId"),
    (_join(**{"": 1}), _INVALID, None),
    (_join(__proto__={}), _INVALID, "__proto__"),
    (_event("join", {"session_id": _SESSION}), _INVALID, "session_id"),
    (_event("join", {"sessionId": _OTHERS_SESSION}), _INVALID, "sessionId"),  # while in another one
    # leave
    (_event("leave", {"sessionId": _SESSION}), _INVALID, "sessionId"),
    # set_media
    (_event("set_media"), _INVALID, "cameraEnabled"),
    (_event("set_media", {}), _INVALID, "cameraEnabled"),
    (_event("set_media", {"cameraEnabled": None, "micEnabled": None}), _INVALID, "cameraEnabled"),
    *(
        (_event("set_media", {name: wrong}), _INVALID, name)
        for name in ("cameraEnabled", "micEnabled")
        for wrong in _NOT_A_SWITCH
    ),
    (_event("set_media", {"cameraEnabled": True, "micEnabled": "on"}), _INVALID, "micEnabled"),
    (_event("set_media", {"micEnabled": True, "sessionId": _SESSION}), _INVALID, "sessionId"),
    (_event("set_media", {"mic_enabled": True}), _INVALID, "mic_enabled"),
    # set_recording_consent
    (_event("set_recording_consent"), _INVALID, "granted"),
    (_event("set_recording_consent", {"policyVersion": "1"}), _INVALID, "granted"),
    *((_event("set_recording_consent", {"granted": wrong}), _INVALID, "granted") for wrong in [None, *_NOT_A_SWITCH]),
    *(
        (_event("set_recording_consent", {"granted": True, "policyVersion": wrong}), _INVALID, "policyVersion")
        for wrong in ["", "v" * 65, *_NOT_A_TEXT[1:]]
    ),
    (_event("set_recording_consent", {"granted": True, "userId": "bo"}), _INVALID, "userId"),
    # signal
    (_event("signal"), _INVALID, "to"),
    (_event("signal", {"data": 1}), _INVALID, "to"),
    (_event("signal", {"to": "bo"}), _INVALID, "data"),
    *((_event("signal", {"to": wrong, "data": 1}), _INVALID, "to") for wrong in ["", "b" * 129, ["bo"], *_NOT_A_TEXT]),
    (_event("signal", {"to": "ada", "data": 1}), _INVALID, "to"),
    (_event("signal", {"to": "bo", "data": 1, "from": "cy"}), _INVALID, "from"),
    (_event("signal", {"to": "nobody", "data": 1}), "not_in_session", None),
    (_event("signal", {"to": "😀\x00", "data": 1}), "not_in_session", None),
    (_event("signal", {"to": "eve", "data": 1}), "not_in_session", None),  # connected, but not in the room
    ('["signal",{"to":"bo","data":"\\udfff"}]', _INVALID, None),
    (_event("signal", {"to": "bo", "data": "x" * 16_384}), "payload_too_large", "data"),
    (_event("signal", {"to": "bo", "data": "€" * 5_500}), "payload_too_large", "data"),
    (f'["signal",{{"to":"bo","data":{_DEEP}}}]', _INVALID, None),
    (f'["signal",{{"to":"bo","data":{"[" * 10_000}', _INVALID, None),
    # sync
    (_event("sync"), _INVALID, "after"),
    *((_event("sync", {"after": wrong}), _INVALID, "after") for wrong in [None, *_NOT_A_SEQ]),
    # No such event.
    *(
        (_event(name, {}), _INVALID, None)
        for name in (
            *("", "JOIN", "join ", "join\x00", "message", "error", "newListener", "ping", "😀", "x" * 10_000),
            *("__proto__", "trigger_event", "handle", "_join", "on_join", "session_ended", "watch", "subscribe"),
        )
    ),
    *((_event(name, {}), _INVALID, None) for name in ("connect", "disconnect", "connect_error")),
    # Not an event at all.
    *((text, _INVALID, None) for text in ("[]", "[null]", "[7]", "[{}]", '[["join"]]', "{}", '"join"', "null", "")),
    *((text, _INVALID, None) for text in ('["join"', '["join",]', "['join']", '["join",{"sessionId":}]', "\x00")),
    # Too large to be looked at.
    (_event("join", {"sessionId": _LONG}), "payload_too_large", None),
    (_event(_LONG), "payload_too_large", None),
    (_event("leave", _LONG, _LONG), "payload_too_large", None),
    (_event("leave", {"text": "€" * 22_000}), "payload_too_large", None),
    ("[" * 70_000, "payload_too_large", None),
]


class _Room:
    """A room with the one who misbehaves, one who only watches, and one who is connected but has not joined."""

    def __init__(self, live: Live, session_id: str, bo: RoomClient, eve: RawClient) -> None:
        self.live = live
        self.session_id = session_id
        self.bo = bo
        self.eve = eve
        self.ada = RawClient()
        self.seq = 0
        self._documents: list[Document] = []

    async def enter(self) -> None:
        """Let the one who misbehaves join, and remember how things stand then."""
        self.ada = await self.live.raw("ada")
        reply = await self.ada.call("join", {"sessionId": self.session_id})
        self.seq = reply["seq"]
        await self.live.stored_at(self.session_id, self.seq)
        self._documents = self._stored()

    async def check_unharmed(self) -> None:
        """Check that nothing has happened in the room, and that the others are served."""
        reply = await self.bo.call("sync", {"after": self.seq})
        assert (reply["ok"], reply["seq"], reply["events"]) == (True, self.seq, [])
        assert self._stored() == self._documents
        assert [event for event in self.bo.events() if event["seq"] > self.seq] == []

    def _stored(self) -> list[Document]:
        return [
            document
            for name in ("events", "sessions", "participants", "timeslots", "registrations")
            for document in self.live.database[name].find().sort("_id", 1)
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_room(no_errors_in_module: None) -> AsyncIterator[_Room]:
    async with running_live(UNLIMITED) as live:
        offer = await live.offer("ada", "bo", "cy", "eve")
        eve = await live.raw("eve")
        bo = await live.join("bo", offer.session_id)
        room = _Room(live, offer.session_id, bo, eve)
        await room.enter()
        await bo.wait_for("session_started")
        yield room


@pytest_asyncio.fixture(loop_scope="module")
async def room(shared_room: _Room) -> _Room:
    """The room, entered anew if the test before went so far as to lose the connection."""
    if shared_room.ada.is_closed:
        await shared_room.enter()
    return shared_room


def _check_refusal(reply: Any, code: str, field: str | None) -> None:
    assert reply.keys() == {"ok", "error"}, reply
    assert reply["ok"] is False
    error = reply["error"]
    assert error.keys() - {"field"} == {"code", "message", "retryable"}
    assert error["code"] == code, error
    assert error.get("field") == field, error
    assert error["retryable"] is ERRORS[code].retryable
    assert isinstance(error["message"], str)
    assert error["message"]


def _label(row: int) -> str:
    text, code, field = _ROWS[row]
    return f"{row}-{text[:60].encode('ascii', 'replace').decode()}-{field or code}".replace("\x00", "0")


@pytest.mark.parametrize("row", range(len(_ROWS)), ids=_label)
async def test_a_bad_event_is_refused_and_changes_nothing(room: _Room, row: int) -> None:
    text, code, field = _ROWS[row]
    ack_id = await room.ada.send_event(text.replace(_SESSION, room.session_id))
    _check_refusal(await room.ada.wait_ack(ack_id), code, field)
    await room.check_unharmed()
    assert (await room.ada.call("sync", {"after": room.seq}))["ok"]


async def test_there_are_enough_rows() -> None:
    assert len(_ROWS) >= 150
    assert len({row[0] for row in _ROWS}) == len(_ROWS)


@pytest.mark.parametrize("text", ['["join",{}]', '["no_such_event"]', '["connect"]', "[]", '["join"', f'["{_LONG}"]'])
async def test_a_bad_event_that_wants_no_ack_is_passed_over(room: _Room, text: str) -> None:
    count = len(room.ada.frames)
    await room.ada.send(f"42{NAMESPACE},{text}")
    assert (await room.ada.call("sync", {"after": room.seq}))["ok"]
    assert len(room.ada.frames) == count + 1
    await room.check_unharmed()


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("leave", {}),
        ("set_media", {"micEnabled": True}),
        ("set_recording_consent", {"granted": True}),
        ("signal", {"to": "bo", "data": 1}),
        ("sync", {"after": 0}),
    ],
)
async def test_nothing_but_joining_works_before_joining(room: _Room, name: str, payload: Any) -> None:
    _check_refusal(await room.eve.call(name, payload), "not_in_session", None)
    await room.check_unharmed()


@pytest.mark.parametrize("name", ["join", "set_media", "set_recording_consent", "signal", "sync", "no_such_event"])
@pytest.mark.parametrize("field", [None, "to", "data"])
async def test_binary_data_is_refused(room: _Room, name: str, field: str | None) -> None:
    attachment: Any = {"_placeholder": True, "num": 0}
    argument = attachment if field is None else {"to": "bo", "data": 1, field: attachment}
    before = len(room.ada.frames)
    await room.ada.send(f"451-{NAMESPACE},77{json.dumps([name, argument])}")
    await room.ada.send(b"\x00\x01\x02")
    reply = json.loads((await room.ada.wait_frame(f"43{NAMESPACE},77[", since=before)).partition(",77")[2])
    _check_refusal(reply[0], _INVALID, None)
    assert (await room.ada.call("sync", {"after": room.seq}))["ok"]
    await room.check_unharmed()


async def test_nothing_works_after_leaving() -> None:
    async with running_live() as live:
        offer = await live.offer("ada", "bo")
        ada = await live.join("ada", offer.session_id)
        assert await ada.call("leave") == {"ok": True, "seq": 3}
        for name, payload in (
            ("set_media", {"micEnabled": True}),
            ("set_recording_consent", {"granted": True}),
            ("signal", {"to": "bo", "data": 1}),
            ("sync", {"after": 0}),
        ):
            _check_refusal(await ada.call(name, payload), "not_in_session", None)
        assert await ada.call("leave", {}) == {"ok": True, "seq": 3}
        assert (await live.stored_at(offer.session_id, 3))["seq"] == 3


async def test_the_largest_messages_that_are_allowed_are_heard(room: _Room) -> None:
    data = "x" * (16_384 - len('{"data":""}'))
    assert await room.ada.call("signal", {"to": "bo", "data": data}) == {"ok": True}
    signal = await room.bo.wait_for("signal")
    assert signal == {"sessionId": room.session_id, "from": "ada", "data": data}
    padding = 65_536 - len(f'2{NAMESPACE},9["leave",{{"x":""}}]')
    before = len(room.ada.frames)
    await room.ada.send(f'42{NAMESPACE},9["leave",{{"x":"{"x" * padding}"}}]')
    frame = await room.ada.wait_frame(f"43{NAMESPACE},9[", since=before)
    _check_refusal(json.loads(frame.partition(",9")[2])[0], _INVALID, "x")
    await room.check_unharmed()
