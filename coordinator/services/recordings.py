"""Recordings of a session's participants: attached by the recording service, and listed (SPEC section 2).

Owns where a recording may lie. Whether the user could be recorded at that time is the domain's rule.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from coordinator.domain.commands import AttachRecording
from coordinator.domain.errors import RecordingNotPermittedError
from coordinator.domain.events import Actor
from coordinator.domain.ids import SessionId
from coordinator.domain.model import Recording
from coordinator.services.reader import Reader
from coordinator.services.rooms import Rooms

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
"""A host as it is looked up: readers of URLs do not agree on what `%`, other alphabets and the rest would mean."""
_SUSPICIOUS = re.compile(r'[\x00-\x20\x7f\\"]')
"""Characters that some readers of URLs drop, take for a slash, or for the URL's end. None is allowed by RFC 3986."""


class Attached(msgspec.Struct, frozen=True):
    """A recording is attached, durably.

    Attributes:
        seq: The session's `seq` then.
        is_new: Whether it was not attached before.
    """

    seq: int
    is_new: bool


class Recordings:
    """The recordings of sessions.

    Args:
        rooms: Where sessions are changed.
        reader: Where they are read.
        allowed_hosts: Hosts that a recording's URL may name, with their subdomains.
    """

    def __init__(self, rooms: Rooms, reader: Reader, allowed_hosts: Sequence[str]) -> None:
        self._rooms = rooms
        self._reader = reader
        self._allowed_hosts = [host.lower().rstrip(".") for host in allowed_hosts]

    async def attach(self, actor: Actor, session_id: SessionId, recording: Recording) -> Attached:
        """Attach a recording, once.

        Two that attach the same one at the same instant may both be told that it is new.

        Raises:
            NotFoundError: There is no such session.
            RecordingNotPermittedError: The URL lies where it must not (the error names the field `url`), or the user
                could not be recorded at that time.
            UnavailableError: The database is out of reach.
        """
        self._check_url(recording.url)
        room = await self._rooms.room(session_id)
        await self._rooms.refresh(room)  # another node may have attached it
        assert room.state is not None
        known = {(item.user_id, item.url) for item in room.state.recordings}
        command = AttachRecording(
            actor=actor, user_id=recording.user_id, url=recording.url, start_time=recording.start_time
        )
        seq = await self._rooms.submit(room, command)
        return Attached(seq=seq, is_new=(recording.user_id, recording.url) not in known)

    async def of_session(self, session_id: SessionId) -> Sequence[Recording]:
        """Return a session's recordings in the order in which they were attached.

        Raises:
            NotFoundError: There is no such session.
            UnavailableError: The database is out of reach.
        """
        return (await self._reader.snapshot(session_id)).session.recordings

    def _check_url(self, url: str) -> None:
        host = _host_of(url)
        if host is None:
            raise RecordingNotPermittedError(
                "url: must be an https URL with a plain host name and without user or password", field="url"
            )
        if not any(host == allowed or host.endswith(f".{allowed}") for allowed in self._allowed_hosts):
            allowed = ", ".join(self._allowed_hosts)
            raise RecordingNotPermittedError(f"url: must lie on {allowed}, not on {host[:100]}", field="url")


def _host_of(url: str) -> str | None:
    """Return the host of an https URL, lower-case and without a final dot; None unless every reader agrees on it."""
    if _SUSPICIOUS.search(url) is not None:
        return None
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        port = parts.port
    except ValueError:
        return None
    is_https = parts.scheme == "https" and port != 0
    is_plain = parts.netloc.isascii() and "@" not in parts.netloc and _HOST.fullmatch(host) is not None
    return host if is_https and is_plain else None
