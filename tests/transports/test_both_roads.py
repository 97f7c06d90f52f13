"""The same conversation on every road, byte for byte: an upgrade of python-socketio that says something else is seen.

What differs is named here, one by one.
"""

import json
from collections.abc import Callable

import pytest
import pytest_asyncio

from coordinator.domain.errors import ERRORS
from coordinator.domain.events import EVENT_TYPES
from tests.transports.clients import MODERATION, RawClient
from tests.transports.conversation import SETTINGS, Conversation, PollingClient, unchanging
from tests.transports.harness import running_live

Transcript = dict[str, list[str]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _transcript(make: Callable[[str], RawClient], road: str = "direct") -> Transcript:
    async with running_live(SETTINGS) as live:
        live.take(road)
        conversation = Conversation(live, make)
        await conversation.hold()
    return {name: list(map(unchanging, client.frames)) for name, client in conversation.clients.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def roads(no_errors_in_module: None) -> dict[str, Transcript]:
    return {
        "direct": await _transcript(RawClient),
        "ordinary": await _transcript(RawClient, "ordinary"),
        "polling": await _transcript(PollingClient),
    }


async def test_on_a_websocket_every_byte_is_the_same(roads: dict[str, Transcript]) -> None:
    ordinary = roads["ordinary"]
    for name, frames in roads["direct"].items():
        assert _settled(frames) == _settled(ordinary[name]), name
    assert roads["direct"].keys() == ordinary.keys()


async def test_over_polling_as_well_but_for_the_first_and_the_last_packet(roads: dict[str, Transcript]) -> None:
    for name, frames in roads["direct"].items():
        over_polling = list(roads["polling"][name])
        assert over_polling[0] == frames[0].replace('"upgrades":[]', '"upgrades":["websocket"]'), name
        # Whoever polls is always told that it is closed, if it asks in time.
        rest, over_polling_rest = (
            packets[1:-1] if packets[-1] == "1" else packets[1:] for packets in (frames, over_polling)
        )
        assert _settled([text for text in rest if text != "6"]) == _settled(over_polling_rest), name
    assert roads["direct"].keys() == roads["polling"].keys()


def _settled(frames: list[str]) -> list[str]:
    """Leave out what comes when it pleases: summaries; and put a record that the feed brings by itself first."""
    attached = [text for text in frames if '"recording_attached"' in text]
    return attached + [text for text in frames if text not in attached and "session_summary" not in text]


async def test_everything_was_said(roads: dict[str, Transcript]) -> None:
    said = "".join(text for frames in roads["direct"].values() for text in frames)
    # Users are erased from the command line, where nobody listens.
    assert {kind for kind in EVENT_TYPES if f'"type":"{kind}"' in said} == EVENT_TYPES.keys() - {"user_erased"}
    for word in ("signal", "replaced", "server_draining", "record", "session_summary"):
        assert f'["{word}",' in said
    codes = {code for code in ERRORS if f'"code":"{code}"' in said}
    assert codes >= {"forbidden", "invalid_request", "not_in_session", "payload_too_large", "rate_limited"}
    assert codes >= {"recording_not_permitted", "removed", "unauthenticated", "unavailable"}
    assert {text.partition(",")[0] for frames in roads["direct"].values() for text in frames if text[:2] == "41"} == {
        "41/rooms"
    }


def _word(refusal: str) -> str:
    reason = json.loads(refusal[refusal.index(",") + 1 :] if refusal[2] == "/" else refusal[2:])
    return str(reason if isinstance(reason, str) else reason["message"])


async def test_every_refusal_of_a_handshake(roads: dict[str, Transcript]) -> None:
    refusals = [text for text in roads["direct"]["stranger"] if text.startswith("44")]
    words = [_word(text) for text in refusals]
    assert words == [
        *["unauthenticated"] * 4,
        *["forbidden"] * 3,
        *["Unable to connect"] * 2,
        "rate_limited",
        "Unable to connect",
    ]
    (refusal,) = [text for text in roads["direct"]["ada"] if text.startswith(f"44{MODERATION}")]
    assert '"message":"unavailable"' in refusal
