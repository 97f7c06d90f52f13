"""The whole life of a session on the official JavaScript client: real transports, real upgrades, real reconnection."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.transports.conftest import StartLive
from tests.transports.expected import check_everything
from tests.transports.harness import UNLIMITED, Live, Offer, eventually

_NODE_TESTS = Path(__file__).parent / "node"
_NODE_SECONDS = 60.0

Lines = list[dict[str, Any]]


async def run_node(script: str, argument: dict[str, Any]) -> Lines:
    """Run a script of the folder `node`; return what it printed, one JSON value a line."""
    node = shutil.which("node")
    assert node is not None, "these tests need Node: scripts/test installs it"
    assert (_NODE_TESTS / "node_modules").is_dir(), "these tests need socket.io-client: scripts/test installs it"
    process = await asyncio.create_subprocess_exec(
        node,
        script,
        json.dumps(argument),
        cwd=_NODE_TESTS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**22,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output: list[str] = []
    try:
        async with asyncio.timeout(_NODE_SECONDS):
            while line := await process.stdout.readline():
                output.append(line.decode())
            problems = (await process.stderr.read()).decode()
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise AssertionError(f"{script} did not end; its last words:\n{''.join(output[-5:])}") from None
    assert process.returncode == 0, f"{problems}\n{''.join(output[-5:])}"
    return [json.loads(line) for line in output]


def _of(lines: Lines, who: str, what: str, name: str | None = None) -> Lines:
    return [line for line in lines if line["who"] == who and line["what"] == what and name in (None, line.get("name"))]


def _replies(lines: Lines, who: str, name: str) -> list[Any]:
    return [line["reply"] for line in _of(lines, who, "ack", name)]


def _events(lines: Lines, who: str) -> list[Any]:
    return [line["payload"] for line in _of(lines, who, "event") if "seq" in line["payload"]]


def _argument(live: Live, offer: Offer, transports: dict[str, list[str] | None]) -> dict[str, Any]:
    tokens = {user: [live.token(user, ttl=600 + number) for number in (0, 1)] for user in ("ada", "bo")}
    return {"address": live.address, "sessionId": offer.session_id, "tokens": tokens, "transports": transports}


def _check_acks(lines: Lines, log: list[Any], session_id: str) -> None:
    (ada_joined,) = _replies(lines, "ada", "join")
    assert (ada_joined["ok"], ada_joined["seq"], ada_joined["resumed"]) == (True, 2, False)
    bo_joined, bo_resumed = _replies(lines, "bo", "join")
    assert bo_joined["ok"]
    assert bo_joined["snapshot"]["session"]["id"] == session_id
    assert [participant["userId"] for participant in bo_joined["snapshot"]["participants"]] == ["ada", "bo"]

    switched, refused = _replies(lines, "ada", "set_media")
    assert switched == {"ok": True, "seq": 6}
    assert (refused["ok"], refused["error"]["code"]) == (False, "invalid_request")
    assert (refused["error"]["field"], refused["error"]["retryable"]) == ("cameraEnabled", False)
    (unknown,) = _replies(lines, "ada", "no_such_event")
    assert (unknown["ok"], unknown["error"]["code"]) == (False, "invalid_request")

    assert (bo_resumed["ok"], bo_resumed["seq"], bo_resumed["resumed"]) == (True, 9, True)
    assert bo_resumed["events"] == log[7:9]  # its own disconnection and its return
    assert _replies(lines, "bo", "set_recording_consent") == [{"ok": True, "seq": 7}, {"ok": True, "seq": 10}]
    assert _replies(lines, "bo", "leave") == [{"ok": True, "seq": 11}]
    assert _replies(lines, "ada", "leave") == [{"ok": True, "seq": 12}]


def _check_events(lines: Lines, log: list[Any], session_id: str) -> None:
    seen_by_ada, seen_by_bo = _events(lines, "ada"), _events(lines, "bo")
    assert seen_by_ada[:9] == log[2:11]
    assert seen_by_ada[9:] in ([], log[11:12])  # its own leaving reaches it or not: it has left
    joined_at = _replies(lines, "bo", "join")[0]["seq"]
    assert seen_by_bo[: 7 - joined_at] == log[joined_at:7]
    assert seen_by_bo[7 - joined_at :] in (log[9:10], log[9:11])
    (signal,) = [line["payload"] for line in _of(lines, "bo", "event", "signal")]
    assert signal == {"sessionId": session_id, "from": "ada", "data": {"sdp": "v=0 …", "emoji": "🎙"}}


@pytest.mark.parametrize(
    ("transports", "settled"),
    [
        ({"ada": ["websocket"], "bo": None}, {"ada": "websocket", "bo": "websocket"}),
        ({"ada": ["polling"], "bo": ["polling"]}, {"ada": "polling", "bo": "polling"}),
    ],
    ids=["websocket and upgrade", "polling only"],
)
async def test_a_whole_life(start: StartLive, transports: dict[str, list[str] | None], settled: dict[str, str]) -> None:
    live = await start({"session.empty_timeout_seconds": 0.2})
    offer = await live.offer("ada", "bo", starts_in=4)  # both have joined by then
    lines = await run_node("life.mjs", _argument(live, offer, transports))
    await eventually(lambda: (live.session(offer.session_id) or {}).get("endReason"), "the end")
    log = (await live.get(f"/api/v1/sessions/{offer.session_id}/events")).json["items"]
    assert [event["type"] for event in log] == [
        "session_opened",
        "participant_joined",
        "participant_joined",
        "session_started",
        "camera_changed",
        "mic_changed",
        "recording_consent_granted",
        "participant_disconnected",
        "participant_reconnected",
        "recording_consent_revoked",
        "participant_left",
        "participant_left",
        "session_ended",
    ]
    for who, transport in settled.items():
        assert [line["transport"] for line in _of(lines, who, "settled")] == [transport]
        assert _of(lines, who, "refused") == []
    _check_acks(lines, log, offer.session_id)
    _check_events(lines, log, offer.session_id)
    assert [line["transport"] for line in _of(lines, "bo", "opened")] == ["polling", "polling"]
    assert [line["reason"] for line in _of(lines, "bo", "disconnected")] == ["forced close", "io client disconnect"]
    session = await check_everything(live, offer.session_id, log)
    assert session["endReason"] == "empty"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-".join)
async def test_how_it_takes_being_closed(live: Live, transports: list[str]) -> None:
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    tokens = [live.token("ada", ttl=5), live.token("ada")]
    argument = {"address": live.address, "sessionId": offer.session_id, "tokens": tokens, "transports": transports}
    lines = {line.pop("what"): line for line in await run_node("closing.mjs", argument)}
    assert "refused" not in lines
    # The token's end closes the connection at once, in a way that makes the client come back.
    assert lines["expired"] == {"reason": "transport close", "active": True}
    assert lines["waited"]["milliseconds"] < 8000
    reply = lines["rejoined"]["reply"]
    assert [event["type"] for event in reply["events"]] == ["participant_disconnected", "participant_reconnected"]
    assert reply["events"][0]["data"]["reason"] == "token_expired"
    # A newer connection closes it for good.
    assert lines["took over"] == {"ok": True}
    assert lines["replaced"] == {"payload": {"sessionId": offer.session_id}}
    assert lines["closed"] == {"reason": "io server disconnect", "active": False}
    assert [event["data"]["reason"] for event in bo.events("participant_disconnected")][:1] == ["token_expired"]


_ROUNDS = 8
_MORE = 20


async def test_it_moves_in_the_middle_of_a_busy_session(start: StartLive) -> None:
    live = await start(UNLIMITED)
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    enough = asyncio.Event()

    async def toggle() -> None:
        number = 0
        while not enough.is_set():
            assert (await bo.call("set_media", {"micEnabled": (number := number + 1) % 2 == 1}))["ok"]

    toggling = asyncio.create_task(toggle())
    argument = {"address": live.address, "sessionId": offer.session_id, "token": live.token("ada")}
    try:
        rounds = await run_node("moving.mjs", argument | {"to": "bo", "rounds": _ROUNDS, "more": _MORE})
    finally:
        enough.set()
        await toggling
    assert len(rounds) == _ROUNDS
    for line in rounds:
        assert (line["opened"], line["settled"]) == ("polling", "websocket")
        # Every event since it joined, each once, in order, whichever way it came.
        assert line["events"] == list(range(line["seq"] + 1, line["seq"] + 1 + len(line["events"])))
        assert line["acks"] == [[number, True] for number in range(_MORE)]
    signals = [payload["data"] for name, payload in bo.arrivals if name == "signal"]
    assert signals == [{"round": number // _MORE, "number": number % _MORE} for number in range(_ROUNDS * _MORE)]
