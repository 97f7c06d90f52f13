"""`/ice-servers`: what browsers need to find a way to each other through firewalls (WebRTC, RFC 8445).

Owns the form of time-limited TURN credentials, as coturn's `use-auth-secret` and others take them.
"""

import base64
import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from coordinator.domain.ids import UserId
from coordinator.domain.ledger import wire_time
from coordinator.ports.clock import Clock
from coordinator.protocol import views
from coordinator.protocol.requests import NoBody, Parameters
from coordinator.transports.rest.operations import API, Answer, Call, Operation, Outcome, Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class IceSettings:
    """Which servers there are.

    Attributes:
        stun_urls: They tell a browser how it is seen from outside.
        turn_urls: They relay what finds no other way; users need credentials.
        turn_secret: What the relays and this server share; None gives no credentials.
        turn_ttl_seconds: How long credentials hold.
    """

    stun_urls: Sequence[str] = ()
    turn_urls: Sequence[str] = ()
    turn_secret: str | None = None
    turn_ttl_seconds: float = 43_200.0


NO_ICE = IceSettings()
"""Within one network browsers need none."""


class IceServerOperations:
    """What can be read about them."""

    def __init__(self, settings: IceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="GET",
                path=f"{API}/ice-servers",
                name="getIceServers",
                summary="Read the STUN and TURN servers",
                tag=Tag.SESSIONS,
                handler=self.read,
                parameters=Parameters,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="As `RTCPeerConnection` takes them.", view=views.IceServers)},
            )
        ]

    async def read(self, call: Call[Parameters, NoBody]) -> Answer:
        """Read the servers that help browsers to reach each other, with credentials of one's own."""
        settings = self._settings
        servers = [views.IceServer(urls=list(settings.stun_urls))] if settings.stun_urls else []
        if not settings.turn_urls:
            return Answer(content=views.IceServers(ice_servers=servers))
        if settings.turn_secret is None:
            servers.append(views.IceServer(urls=list(settings.turn_urls)))
            return Answer(content=views.IceServers(ice_servers=servers))
        expires_at = self._clock.now() + timedelta(seconds=settings.turn_ttl_seconds)
        username, credential = turn_credentials(
            settings.turn_secret, call.identity.user_id, math.floor(expires_at.timestamp())
        )
        servers.append(views.IceServer(urls=list(settings.turn_urls), username=username, credential=credential))
        return Answer(content=views.IceServers(ice_servers=servers, expires_at=wire_time(expires_at)))


def turn_credentials(secret: str, user_id: UserId, expires_at: int) -> tuple[str, str]:
    """Return a user name and a password that a TURN server with the same secret takes until `expires_at`.

    Args:
        secret: What both share.
        user_id: For whom; relays log it.
        expires_at: Unix time in seconds.
    """
    username = f"{expires_at}:{user_id}"
    digest = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return username, base64.b64encode(digest).decode()
