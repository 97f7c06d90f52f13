"""Who gets in: the token, the role, the number of connections, the time it may take, and the day the token runs out."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import jwt
import pytest

from coordinator.domain.events import Role
from coordinator.domain.ids import USER_ID_MAX_LENGTH
from tests.transports.clients import Refused
from tests.transports.conftest import StartLive
from tests.transports.harness import SECRET, Live

_SOON = 5.0
"""Seconds after which what should happen soon is missing: less than Engine.IO's own patience, which would hide it."""


def _sign(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Make a token for ada that is good for an hour, but for what is asked; `...` leaves a claim out."""
    usual: dict[str, Any] = {"sub": "ada", "role": "participant", "exp": time.time() + 3600}
    return jwt.encode({k: v for k, v in (usual | claims).items() if v is not ...}, secret, algorithm=algorithm)


def _unsigned() -> str:
    return jwt.encode({"sub": "ada", "role": "participant", "exp": time.time() + 3600}, "", algorithm="none")


def _tampered() -> str:
    head, _, signature = _sign().split(".")
    return ".".join((head, _sign(sub="bo").split(".")[1], signature))


async def _refusal(live: Live, auth: Any) -> dict[str, Any]:
    """Connect, which must be refused in the way that clients can read: the code as message, the details as data."""
    with pytest.raises(Refused) as caught:
        await live.connect("ada", auth=auth)
    reason: dict[str, Any] = caught.value.reason
    assert reason.keys() == {"message", "data"}
    assert reason["data"]["code"] == reason["message"]
    assert reason["data"].keys() - {"field"} == {"code", "message", "retryable"}
    return dict(reason["data"])


_BAD_TOKENS: list[Any] = [
    *(None, 7, True, [], {}, ["x"], "", " ", "x", "a.b", "a.b.c", "..", "....", "Bearer x", "null", "\x00", "😀.😀.😀"),
    "x" * 9000,
]


@pytest.mark.parametrize("token", _BAD_TOKENS, ids=lambda token: repr(token)[:20])
async def test_a_token_that_is_none(live: Live, token: Any) -> None:
    error = await _refusal(live, {"token": token})
    assert (error["code"], error["retryable"]) == ("unauthenticated", False)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_unsigned, id="unsigned"),
        pytest.param(_tampered, id="tampered with"),
        pytest.param(lambda: _sign("another secret that is also longer than 32 bytes"), id="another secret"),
        pytest.param(lambda: _sign(algorithm="HS512", secret=SECRET + SECRET), id="another algorithm"),
        pytest.param(lambda: _sign(algorithm="HS384"), id="another algorithm, the same secret"),
        pytest.param(lambda: _sign(exp=time.time() - 1), id="expired"),
        pytest.param(lambda: _sign(exp=...), id="never expires"),
        pytest.param(lambda: _sign(exp=1e300), id="expires beyond time"),
        pytest.param(lambda: _sign(nbf=time.time() + 3600), id="not valid yet"),
        pytest.param(lambda: _sign(iat=time.time() + 3600), id="issued in the future"),
        pytest.param(lambda: _sign(aud="someone else"), id="another audience"),
        pytest.param(lambda: _sign(sub=...), id="no user"),
        pytest.param(lambda: _sign(sub=""), id="empty user"),
        pytest.param(lambda: _sign(sub="u" * (USER_ID_MAX_LENGTH + 1)), id="too long a user"),
        pytest.param(lambda: _sign(role=...), id="no role"),
        pytest.param(lambda: _sign(role="system"), id="the system's role"),
        pytest.param(lambda: _sign(role="Participant"), id="unknown role"),
        pytest.param(lambda: _sign(role=["participant"]), id="list of roles"),
    ],
)
async def test_a_token_that_is_not_good(live: Live, make: Any) -> None:
    token = make()
    error = await _refusal(live, {"token": token})
    assert (error["code"], error["retryable"]) == ("unauthenticated", False)
    assert token not in error["message"]
    assert (await live.get("/api/v1/sessions/0123456789abcdef01234567", token)).status == 401


@pytest.mark.parametrize("auth", ['"token"', "[]", '["token"]', "7", "true", "null", "{}", "", '{"Token":"x"}'])
async def test_auth_that_holds_no_token(live: Live, auth: str) -> None:
    client = await live.raw()
    await client.send(f"40/rooms,{auth}")
    answer = json.loads((await client.wait_frame("44/rooms,")).partition(",")[2])
    assert answer["message"] == answer["data"]["code"] == "unauthenticated"
    assert answer["data"]["field"] == "token"


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.RECORDER, Role.ADMIN])
async def test_only_participants_enter_rooms(live: Live, role: Role) -> None:
    error = await _refusal(live, {"token": live.token("ada", role)})
    assert (error["code"], error["retryable"]) == ("forbidden", False)


async def test_a_refused_client_can_try_again(live: Live) -> None:
    client = await live.raw()
    assert (await client.connect({"token": "x"})).startswith("44/rooms,")
    assert (await client.connect({"token": live.token("ada")})).startswith("40/rooms,{")
    assert (await client.call("leave", {}))["error"]["code"] == "not_in_session"


async def test_the_ninth_connection_of_a_user_is_refused(live: Live) -> None:
    clients = [await live.connect("ada") for _ in range(8)]
    error = await _refusal(live, {"token": live.token("ada")})
    assert (error["code"], error["retryable"]) == ("rate_limited", True)
    await live.connect("bo")  # others are not concerned
    await clients[0].close()
    await live.connect("ada")  # and it was but a matter of number


async def test_many_at_once_do_not_slip_through(live: Live) -> None:
    async def try_once() -> bool:
        client = await live.raw()
        return (await client.connect({"token": live.token("ada")})).startswith("40")

    assert sum(await asyncio.gather(*(try_once() for _ in range(20)))) == 8


async def test_whoever_says_nothing_is_let_go(start: StartLive) -> None:
    live = await start({"limits.handshake_seconds": 0.3})
    silent, refused, known = await live.raw(), await live.raw(), await live.raw("ada")
    assert (await refused.connect({"token": "x"})).startswith("44")
    async with asyncio.timeout(_SOON):
        await silent.wait_closed()
        await refused.wait_closed()
    assert (await known.call("leave", {}))["error"]["code"] == "not_in_session"


async def test_whoever_polls_and_says_nothing_is_let_go(start: StartLive) -> None:
    live = await start({"limits.handshake_seconds": 0.3})
    url = f"{live.address}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            engine_id = json.loads((await response.text())[1:])["sid"]
        async with asyncio.timeout(_SOON), http.get(f"{url}&sid={engine_id}") as response:
            assert await response.text() in ("1", "")
        async with http.get(f"{url}&sid={engine_id}") as response:
            assert response.status == 400


async def test_leaving_the_namespace_does_not_free_from_saying_who_one_is(start: StartLive) -> None:
    live = await start({"limits.handshake_seconds": 0.3})
    client = await live.raw("ada")
    await client.send("41/rooms,")
    async with asyncio.timeout(_SOON):
        await client.wait_closed()


async def test_a_connection_ends_with_its_token_and_its_seat_is_held(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    ada = await live.raw()
    await ada.connect({"token": live.token("ada", ttl=1)})
    assert (await ada.call("join", {"sessionId": offer.session_id}))["ok"]
    async with asyncio.timeout(_SOON):
        await ada.wait_closed()
    lost = await bo.wait_for("participant_disconnected")
    assert lost["data"].keys() == {"userId", "reason", "reconnectBy"}
    assert (lost["data"]["userId"], lost["data"]["reason"]) == ("ada", "token_expired")
    assert not any(frame.startswith("41/rooms,") for frame in ada.frames)  # which would make clients stay away

    ada_again = await live.connect("ada")
    reply = await ada_again.join(offer.session_id, after=lost["seq"])
    assert [event["type"] for event in reply["events"]] == ["participant_reconnected"]


async def test_a_token_is_good_until_it_expires(live: Live) -> None:
    ada = await live.connect("ada", ttl=1.2)
    started = time.monotonic()
    await ada.wait_gone()
    assert 0.5 < time.monotonic() - started < 1.2 + _SOON
