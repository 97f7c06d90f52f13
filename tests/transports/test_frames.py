"""The WebSocket frames of a client are read as RFC 6455 says, case by case in the order of the Autobahn test suite.

Each case is read whole and in pieces of several sizes, byte by byte among them, with the same outcome.
"""

import pytest

from coordinator.transports.socketio.frames import Violation
from tests.transports.raw_frames import read, text

# 1: framing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537])
def test_texts_of_every_size(size: int) -> None:
    message = "*" * size
    assert read(text(message)) == [message]


def test_wrong() -> None:
    assert read(text("a") + text(b"\xff") + text("b")) == ["a", Violation(1007, "not UTF-8: invalid start byte")]
