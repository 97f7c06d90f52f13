"""Limits of one connection (SPEC section 5, limits)."""

from enum import StrEnum

import msgspec


class Pace(StrEnum):
    """What is counted apart, because it is sent at a pace of its own."""

    COMMANDS = "commands"
    SIGNALS = "signals"
    ACKS = "acks"


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, or one user's connections, may ask of the server. Sizes in bytes, rates per second."""

    message_bytes: int = 65536
    signal_bytes: int = 16384
    commands_per_second: float = 20
    command_burst: int = 40
    signals_per_second: float = 60
    signal_burst: int = 200
    acks_per_second: float = 1000
    ack_burst: int = 2000
    send_buffer_bytes: int = 1048576
    connections_per_user: int = 8
    handshake_seconds: float = 5

    def rate(self, pace: Pace) -> tuple[float, int]:
        """Return how many per second, and how many at once."""
        rates = {
            Pace.COMMANDS: (self.commands_per_second, self.command_burst),
            Pace.SIGNALS: (self.signals_per_second, self.signal_burst),
            Pace.ACKS: (self.acks_per_second, self.ack_burst),
        }
        return rates[pace]


class TokenBucket:
    """Lets `burst` through at once and `rate` per second on average."""

    __slots__ = ("_burst", "_level", "_rate", "_then")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._level = float(burst)
        self._then = now

    def take(self, now: float) -> bool:
        """Take one; tell whether there was one. `now` is in seconds of a clock that never runs backwards."""
        level = self._level + (now - self._then) * self._rate
        if level > self._burst:  # every message is counted, and calling `min` would be the dearest part of that
            level = self._burst
        self._then = now
        is_there = level >= 1.0
        self._level = level - 1.0 if is_there else level
        return is_there


class Spent:
    """What a client has used up that was not let in, or has left a namespace: trying again gives no more of it.

    Args:
        entries: Counts its further attempts to connect.

    Attributes:
        entries: As above.
        left: Its buckets on namespaces that it has left, by name.
    """

    __slots__ = ("entries", "left")

    def __init__(self, entries: TokenBucket) -> None:
        self.entries = entries
        self.left: dict[str, dict[Pace, TokenBucket]] = {}
