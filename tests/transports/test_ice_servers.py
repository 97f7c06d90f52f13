"""STUN and TURN servers over HTTP, and credentials that a relay can check."""

from datetime import UTC, datetime

from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.events import Role
from coordinator.domain.ids import UserId
from coordinator.ports.identity import Identity
from coordinator.protocol.requests import NoBody, Parameters
from coordinator.protocol.views import IceServer, IceServers
from coordinator.transports.rest.ice_servers import IceServerOperations, IceSettings, turn_credentials
from coordinator.transports.rest.operations import Call

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TURN = "turn:turn.example.org:3478"
STUN = "stun:stun.example.org:3478"


async def read(settings: IceSettings) -> IceServers:
    identity = Identity(user_id=UserId("ada"), role=Role.PARTICIPANT, expires_at=NOW)
    call = Call(caller=identity, parameters=Parameters(), body=NoBody(), new_id="")
    content = (await IceServerOperations(settings, ManualClock(NOW)).read(call)).content
    assert isinstance(content, IceServers)
    return content


def test_credentials_are_what_relays_compute() -> None:
    # echo -n "1893456000:ada" | openssl dgst -sha1 -hmac "north" -binary | base64
    assert turn_credentials("north", UserId("ada"), 1893456000) == ("1893456000:ada", "A0DNf16by58KaWAwAe4TV36DNwI=")


async def test_within_one_network_there_are_none() -> None:
    assert await read(IceSettings()) == IceServers(ice_servers=[])


async def test_relays_get_credentials_that_end() -> None:
    answer = await read(IceSettings(stun_urls=[STUN], turn_urls=[TURN], turn_secret="north", turn_ttl_seconds=600))
    stun, turn = answer.ice_servers
    assert stun == IceServer(urls=[STUN])
    assert turn.username == "1893456600:ada"
    assert answer.expires_at == "2030-01-01T00:10:00.000Z"


async def test_relays_without_a_secret_are_named_alone() -> None:
    assert (await read(IceSettings(turn_urls=[TURN]))).ice_servers == [IceServer(urls=[TURN])]
