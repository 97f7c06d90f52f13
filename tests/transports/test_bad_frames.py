"""What is not even an event: at worst it ends the connection that sent it. Others live on, and nothing escapes."""

import asyncio
import json
from contextlib import suppress

import aiohttp
import pytest

from tests.transports.clients import NAMESPACE, RawClient
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, eventually
from tests.transports.sockets import TEXT, BareSocket, frame

_SETTLE_SECONDS = 5.0
_JOIN_NOWHERE = '["join",{"sessionId":"0123456789abcdef01234567"}]'
_HARD_LIMIT = 4 * 65_536

_FRAMES: list[str | bytes] = [
    # Engine.IO
    *(
        "",
        "x",
        "\x00",
        "hello",
        "-1",
        "4",
        "4x",
        "4-",
        "7",
        "8",
        "9",
        "99",
        "0",
        '0{"sid":"x"}',
        "2",
        "2probe",
        "3",
        "5",
    ),
    *("6", "b", "b!", "bAAAA", "bNDI=", "²", "\u0663", "\U0001f600", "{}", "[]", "null", '"4"', "\x1e", "42\x1e42"),
    # A message that is JSON by itself, which Engine.IO reads before anyone asked it to.
    *("4{}", '4{"a":1}', "4[]", "4[1]", "4null", "4true", "4false", '4""', '4"42/rooms,1[]"', "4 1", "41e5", "4-1"),
    # Socket.IO
    *("47", "48", "49", "4a", "4²", "44", '44/rooms,{"message":"no"}', "44/rooms,"),
    *("43", "43/rooms,", "43/rooms,1", "43/rooms,1[]", "43/rooms,1{}", "43/rooms,0[]", "43/nowhere,1[]", "43/rooms,1["),
    *("42", "42/", "42/rooms", "42/rooms,", "42[]", f"42{_JOIN_NOWHERE}", f"42/nowhere,1{_JOIN_NOWHERE}", "42/rooms,["),
    *(f"42/rooms,{'9' * 15}[]", f"42/rooms,{'9' * 101}[]", f"42/rooms,{'9' * 5000}", "42/rooms,²[]", "42?x,1[]"),
    *(f"42/rooms?x=1,1{_JOIN_NOWHERE}", f"42{'/' * 30_000},1[]", "42/rooms/,1[]", "42,1[]", "42/rooms,-1[]"),
    # Binary without what belongs to it.
    *("45", "451-", "451-/rooms,1[]", "450-/rooms,1[]", f"45{'9' * 9}-/rooms,1[]", f"45{'9' * 20}-/rooms,1[]"),
    *("451-/nowhere,1[]", "461-/rooms,1[]", f"46{'9' * 9}-/rooms,1[]", "45-1-/rooms,1[]", "451-/rooms,1["),
    *('451-/rooms,1["a",{"_placeholder":true,"num":7}]', '451-/rooms,1["a",{"_placeholder":true,"num":"x"}]'),
    *(b"", b"\x00", b"4", b"42/rooms,1[]", b"\xff\xfe", b"\x00" * 70_000),
    # Namespaces.
    *("40", "40{}", "40/", "40/,", "40/nowhere,{}", "40/moderation,{}", "40/recording,{}", "40/admin,", "40/ROOMS,{}"),
    *("40/rooms", "40/rooms,", "40/rooms,{", "40/rooms,[]", '40/rooms,"token"', "40/rooms,null", "40/rooms,7"),
    *("40/rooms,{}", '40/rooms,{"token":7}', f'40/rooms,{{"token":"{"x" * 70_000}"}}', "40/rooms?token=x,{}", "40/*,"),
    *("41/nowhere,", "41/nowhere", "41,", "41[]"),
    # Beyond what is read at all.
    "4" + "x" * _HARD_LIMIT,
    b"x" * (_HARD_LIMIT + 1),
]


def _label(sent: str | bytes) -> str:
    size = f"{len(sent)} bytes " if len(sent) > 40 else ""
    text = sent if isinstance(sent, str) else repr(sent)
    return size + text[:40].encode("ascii", "backslashreplace").decode().replace("\x00", "0")


async def _check_one_and_only(live: Live, session_id: str, client: RawClient, sent: str | bytes) -> None:
    """Send a frame; then the client is served on, or it is gone; and nobody else has noticed."""
    bo = next(known for known in live.clients if known.user == "bo")
    before = await bo.call("sync", {"after": 0})
    with suppress(aiohttp.ClientError, ConnectionError):
        await client.send(sent)
        await client.send(f'42{NAMESPACE},4711["sync",{{"after":0}}]')

    def outcome() -> str | None:
        if client.is_closed:
            return "closed"
        return "served" if any(text.startswith(f"43{NAMESPACE},4711[") for text in client.frames) else None

    async with asyncio.timeout(_SETTLE_SECONDS):
        await eventually(outcome, f"an answer or the end after {_label(sent)}")
    reply = await bo.call("sync", {"after": 0})
    assert reply["ok"]
    if outcome() == "served":
        assert reply["seq"] == before["seq"]
    else:
        gone = await bo.wait_for("participant_disconnected", userId="ada")
        assert (gone["seq"], gone["data"]["reason"]) == (before["seq"] + 1, "connection_closed")


@pytest.mark.parametrize("sent", _FRAMES, ids=_label)
async def test_from_someone_in_the_room(live: Live, sent: str | bytes) -> None:
    offer = await live.offer("ada", "bo")
    await live.join("bo", offer.session_id)
    ada = await live.raw("ada")
    assert (await ada.call("join", {"sessionId": offer.session_id}))["ok"]
    await _check_one_and_only(live, offer.session_id, ada, sent)
    ada_again = await live.join("ada", offer.session_id)
    assert (await ada_again.call("set_media", {"micEnabled": True}))["ok"]


async def test_from_strangers(start: StartLive) -> None:
    live = await start(UNLIMITED)
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    for sent in _FRAMES:
        stranger = await live.raw()
        with suppress(aiohttp.ClientError, ConnectionError):
            await stranger.send(sent)
            # If it is still there, it may say who it is, and is served like anyone else.
            await stranger.send(f"40{NAMESPACE},{json.dumps({'token': live.token('ada')})}")
            await stranger.send(f"42{NAMESPACE},4711{_JOIN_NOWHERE}")

        def outcome(client: RawClient = stranger) -> bool:
            return client.is_closed or any(text.startswith(f"43{NAMESPACE},4711[") for text in client.frames)

        async with asyncio.timeout(_SETTLE_SECONDS):
            await eventually(outcome, f"an answer or the end after {_label(sent)}")
        await stranger.close()
        assert (await bo.call("sync", {"after": 2}))["events"] == []


async def test_an_event_before_connecting_is_not_heard(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    stranger = await live.raw()
    await stranger.send(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
    await stranger.connect({"token": live.token("ada")})
    assert (await stranger.call("leave", {}))["error"]["code"] == "not_in_session"
    assert [event["type"] for event in await _log(live, offer.session_id)] == ["session_opened"]


async def _log(live: Live, session_id: str) -> list[dict[str, object]]:
    return list((await live.get(f"/api/v1/sessions/{session_id}/events")).json["items"])


@pytest.mark.parametrize("namespace", ["/", "/nowhere", "/moderation", "/recording", "/rooms/", "/ROOMS", "/rooms/x"])
async def test_there_is_no_other_namespace(live: Live, namespace: str) -> None:
    client = await live.raw("ada")
    before = len(client.frames)
    prefix = "" if namespace == "/" else f"{namespace},"
    await client.send(f"40{prefix}{json.dumps({'token': live.token('ada')})}")
    answer = await client.wait_frame("4", since=before)
    assert answer.startswith(f"44{prefix}")
    assert (await client.call("leave", {}))["error"]["code"] == "not_in_session"


async def test_a_second_handshake_does_not_make_a_second_connection(live: Live) -> None:
    client = await live.raw("ada")
    answer = await client.connect({"token": live.token("bo")})
    assert answer.startswith("44/rooms,")
    offer = await live.offer("ada")
    assert (await client.call("join", {"sessionId": offer.session_id}))["ok"]


# Below Socket.IO: what no WebSocket library would send.


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(TEXT, b"\xff\xfe\xfd"), id="text that is not UTF-8"),
        pytest.param(frame(TEXT, b"2", masked=False), id="not masked"),
        pytest.param(frame(0x83, b"x"), id="reserved opcode"),
        pytest.param(frame(0xF1, b"2"), id="reserved bits"),
        pytest.param(frame(0x80, b"x"), id="continuation of nothing"),
        pytest.param(frame(0x01, b"4") + frame(0x01, b"2"), id="a message within a message"),
        pytest.param(frame(0x09, b"x"), id="fragmented ping"),
        pytest.param(frame(0x89, b"x" * 126), id="long ping"),
        pytest.param(frame(0x88, b"x"), id="half a close code"),
        pytest.param(frame(0x88, b"\x00\x01"), id="reserved close code"),
        pytest.param(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", id="length beyond all measure"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP again"),
        pytest.param(b"\x81", id="half a frame"),
        pytest.param(b"\x00" * 1000, id="zeros"),
    ],
)
async def test_what_is_not_a_websocket_frame(live: Live, data: bytes) -> None:
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    bare = BareSocket()
    try:
        await bare.connect(live.address, live.token("ada"))
        await bare.send_text(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
        assert '"ok":true' in await bare.read_text()
        await bare.send_bytes(data)
    finally:
        bare.close()
    gone = await bo.wait_for("participant_disconnected", userId="ada")
    assert gone["data"]["reason"] == "connection_closed"
    assert (await live.get("/healthz")).status == 200


# HTTP, where Engine.IO answers by itself.


@pytest.mark.parametrize(
    "body", ["", "x", "4", "\x1e", "4\x1e", "b!", "2", "9", "d=", "1\x1e1", "4{}\x1e4[]", "\x1e" * 50]
)
async def test_a_malformed_poll_is_answered(live: Live, body: str) -> None:
    url = f"{live.address}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            engine_id = json.loads((await response.text())[1:])["sid"]
        async with http.post(f"{url}&sid={engine_id}", data=body) as response:
            assert response.status in (200, 400)
    ada = await live.connect("ada", transports=("polling",))
    assert (await ada.call("leave", {}))["error"]["code"] == "not_in_session"


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", "", 400),
        ("GET", "EIO=3&transport=polling", 400),
        ("GET", "EIO=4&transport=carrier-pigeon", 400),
        ("GET", "EIO=4&transport=websocket", 400),
        ("GET", "EIO=4&transport=polling&sid=nobody", 400),
        ("GET", "EIO=4&transport=polling&j=x", 400),
        ("POST", "EIO=4&transport=polling", 400),
        ("POST", "EIO=4&transport=polling&sid=nobody", 400),
        ("PUT", "EIO=4&transport=polling", 405),
    ],
)
async def test_a_malformed_request_is_answered(live: Live, method: str, query: str, status: int) -> None:
    answer = await live.request(method, f"/socket.io/?{query}")
    assert answer.status == status
    assert (await live.get("/healthz")).status == 200
