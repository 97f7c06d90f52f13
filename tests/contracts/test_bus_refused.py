"""Redis that does not let us in, and what is no Redis: the message names the place and the reason, never a password."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from coordinator.adapters.redis.bus import RedisBus
from coordinator.domain.ids import NodeId
from coordinator.ports.bus import BusOutOfReachError
from tests.contracts.bus_ends import Ear, RedisPlace, ends, until
from tests.contracts.making import commit, new_session_id
from tests.redis_server import Client, RedisProcess, redis_process

PASSWORD = "open/sesame#1"
IN_URL = "open%2Fsesame%231"


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisProcess]:
    with redis_process("--requirepass", PASSWORD) as found:
        yield found


async def refusal(url: str) -> str:
    with pytest.raises(BusOutOfReachError) as raised:
        await RedisBus(url, NodeId("n")).ping()
    assert "sesame" not in str(raised.value)
    assert "guess" not in str(raised.value)
    return str(raised.value)


def refused(client: Client) -> int:
    """How many have been sent away so far."""
    calls: int = client.info("commandstats")["cmdstat_hello"]["failed_calls"]
    return calls


@asynccontextmanager
async def answering(data: bytes | None) -> AsyncIterator[int]:
    """Listen as somebody who says this to everybody who asks something; None: goes away without a word."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if data is not None:
            writer.write(data)
            await reader.read()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def test_with_the_password_it_works(locked: RedisProcess) -> None:
    for user in ("", "default"):
        place = RedisPlace(f"redis://{user}:{IN_URL}@127.0.0.1:{locked.port}/0")
        await place.bus().ping()
        async with ends(place, 2) as (writer, reader):
            item = commit(new_session_id())
            await reader.follow(item.session_id)
            writer.bus.publish([item])
            await reader.hears(item)


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [("", "wants a password"), (":guess@", "does not accept"), ("nobody:guess@", "does not accept")],
)
async def test_a_wrong_password_is_named_as_the_reason(locked: RedisProcess, credentials: str, reason: str) -> None:
    said = await refusal(f"redis://{credentials}127.0.0.1:{locked.port}")
    assert said.startswith(f"Redis at 127.0.0.1:{locked.port} {reason}")


async def test_a_wrong_password_is_logged_once_while_the_bus_runs(locked: RedisProcess) -> None:
    bus = RedisBus(f"redis://:guess@127.0.0.1:{locked.port}", NodeId("n"))
    with capture_logs() as logged:
        with locked.client(password=PASSWORD) as client:
            before = refused(client)
            running = asyncio.create_task(bus.run(Ear()))
            await until(lambda: refused(client) >= before + 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [entry["event"] for entry in logged] == ["bus_down"]
    assert "does not accept" in logged[0]["error"]
    assert "guess" not in str(logged)


async def test_a_user_without_the_right_to_the_channels_is_told_so(locked: RedisProcess) -> None:
    with locked.client(password=PASSWORD) as client:
        client.acl_setuser("narrow", enabled=True, passwords=["+guess"], commands=["+@all"])
        client.acl_setuser(
            "fits",
            enabled=True,
            passwords=["+guess"],
            commands=["+@pubsub", "+@connection"],
            channels=["coordinator:*"],
        )
    assert "no permissions" in (await refusal(f"redis://narrow:guess@127.0.0.1:{locked.port}")).lower()
    await RedisBus(f"redis://fits:guess@127.0.0.1:{locked.port}", NodeId("n")).ping()


async def test_where_nobody_listens_the_place_is_named() -> None:
    assert (await refusal("redis://127.0.0.1:9")).startswith("Redis at 127.0.0.1:9 is out of reach: ")
    assert (await refusal("redis://nowhere.invalid")).startswith("Redis at nowhere.invalid:6379 is out of reach: ")
    assert (await refusal("unix:///nowhere/redis.sock")).startswith("Redis at /nowhere/redis.sock is out of reach: ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol of Redis"),
        (b"+OK welcome\r\n", "is no Redis"),
        (b"*0\r\n", "is no Redis"),
        (b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `guess`, \r\n", "is too old"),
        (b"-NOPROTO unsupported protocol version\r\n", "is too old"),
        (b"-ERR syntax error, with args beginning with: `guess`\r\n", "answers: ERR syntax error"),
        (b"%1\r\n+mode\r\n+sentinel\r\n", "is a Sentinel"),
        (None, "has closed the connection"),
    ],
)
async def test_what_is_no_redis_is_named_as_such(data: bytes | None, reason: str) -> None:
    async with answering(data) as port:
        said = await refusal(f"redis://u:guess@127.0.0.1:{port}")
    assert said.startswith(f"Redis at 127.0.0.1:{port} {reason}")


async def test_who_does_not_answer_is_given_up_after_two_seconds() -> None:
    async with answering(b"") as port:
        assert "has not answered for 2 s" in await refusal(f"redis://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    return key, made


@pytest.fixture(scope="module")
def in_tls(certificate: tuple[Path, Path]) -> Iterator[RedisProcess]:
    key, made = certificate
    with redis_process(tls=(key, made)) as found:
        yield found


async def test_over_tls_it_works_with_the_certificate_of_the_authority(
    in_tls: RedisProcess, certificate: tuple[Path, Path]
) -> None:
    place = RedisPlace(f"rediss://localhost:{in_tls.port}?ssl_ca_certs={certificate[1]}")
    await place.bus().ping()
    async with ends(place, 2) as (writer, reader):
        item = commit(new_session_id())
        await reader.follow(item.session_id)
        writer.bus.publish([item])
        await reader.hears(item)


async def test_what_is_wrong_with_tls_is_named(
    in_tls: RedisProcess, certificate: tuple[Path, Path], locked: RedisProcess
) -> None:
    authority = f"ssl_ca_certs={certificate[1]}"
    assert "has a certificate that is not accepted" in await refusal(f"rediss://localhost:{in_tls.port}")
    assert "has a certificate that is not accepted" in await refusal(f"rediss://127.0.0.1:{in_tls.port}?{authority}")
    assert "does it listen for TLS" in await refusal(f"rediss://localhost:{locked.port}?{authority}")
    assert f"Redis at localhost:{in_tls.port} " in await refusal(f"redis://localhost:{in_tls.port}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:pa/ss@127.0.0.1", "redis.url: expected redis://USER:PASSWORD@HOST:PORT"),
        ("redis://:pass@127.0.0.1:0x50", "redis.url: expected redis://USER:PASSWORD@HOST:PORT"),
        ("http://:pass@127.0.0.1", "redis.url: expected redis://USER:PASSWORD@HOST:PORT"),
        (
            "redis://:pass@127.0.0.1?colour=red",
            "redis.url: its option 'colour' is not known; with rediss://, ssl_ca_certs, ",
        ),
        ("redis://:pass@127.0.0.1?ssl_cert_reqs=none", "redis.url: its option 'ssl_cert_reqs' needs rediss://"),
        ("rediss://:pass@127.0.0.1?ssl_ca_certs=/nowhere.pem", "redis.url: its options for TLS do not work: "),
        ("rediss://:pass@127.0.0.1?ssl_cert_reqs=perhaps", "redis.url: its options for TLS do not work: "),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_being_repeated(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"redis\.url") as raised:
        RedisBus(url, NodeId("n"))
    assert str(raised.value).startswith(reason)
    assert "pa" + "ss@" not in str(raised.value)


@pytest.mark.parametrize("node", ["", "two words", " n", "n\n", "é"])
def test_a_node_is_one_word(node: str) -> None:
    with pytest.raises(ValueError, match="node: "):
        RedisBus("redis://127.0.0.1", NodeId(node))


@pytest.mark.parametrize("prefix", ["", "two words", "{all}", "é"])
def test_a_prefix_is_one_word_that_keeps_no_channels_together(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix: "):
        RedisBus("redis://127.0.0.1", NodeId("n"), prefix)
