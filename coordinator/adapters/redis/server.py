"""Where Redis is, and how to get there: the URL, TLS, who we are, and which nodes a cluster has.

Owns the making of connections. Must not know what is said on them.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError

from coordinator.adapters.redis.link import ANSWER_SECONDS, NO_ANSWER, Link, pack
from coordinator.ports.bus import BusOutOfReachError

SLOTS = 16384
"""How many slots the channels of a cluster are spread over."""
_CLUSTER_SLOTS = pack("CLUSTER", "SLOTS")
_IS_IT_TLS = "does it listen for TLS there?"
_SAME_HOST = (None, b"", b"?")
"""What a node of a cluster says that does not know its own name: it is where it was asked."""
_WITHOUT_MEANING = {"db"}
"""Options that are part of many URLs and change nothing here: channels belong to no numbered database."""

_TLS_OPTIONS = frozenset(
    (
        *("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers"),
        *("ssl_keyfile", "ssl_min_version", "ssl_password"),
    )
)
_TLS_NAMES = ", ".join(sorted(_TLS_OPTIONS))

Pushed = Callable[[list[Any]], None]


class Address(NamedTuple):
    """Where one Redis listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Greeting(NamedTuple):
    """What a Redis says of itself.

    Attributes:
        in_cluster: Whether it is a node of a cluster.
        version: Its major version.
    """

    in_cluster: bool
    version: int


class Shard(NamedTuple):
    """A range of a cluster's slots, both ends included.

    Attributes:
        first: The first slot.
        last: The last slot.
        nodes: The nodes that know of it: the one that serves it, and its replicas.
    """

    first: int
    last: int
    nodes: Sequence[Address]


class Server:
    """The Redis at a URL.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        client_name: What Redis shows in its list of clients.

    Attributes:
        where: Host and port, or path; for messages.
        address: Host and port, unless it is a socket in the file system.

    Raises:
        ValueError: The URL makes no sense; the message does not repeat it.
    """

    def __init__(self, url: str, client_name: str) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))
        except ValueError:
            raise ValueError(
                "redis.url: expected redis://USER:PASSWORD@HOST:PORT, with rediss:// for TLS, or unix:///PATH; what is"
                " special in a URL, such as / or # or @ in a password, is written as %2F and so on"
            ) from None
        scheme = options.pop("connection_class", None)
        self._path: str | None = options.pop("path", None)
        self.address = Address(options.pop("host", "localhost"), options.pop("port", 6379))
        self.where = self._path or str(self.address)
        user, password = options.pop("username", None), options.pop("password", None)
        credentials = () if password is None else ("AUTH", user or "default", password)
        self._hello = pack("HELLO", "3", *credentials, "SETNAME", client_name)
        known = _TLS_OPTIONS if scheme is SSLConnection else frozenset[str]()
        for name in options.keys() - known - _WITHOUT_MEANING:
            needs = " needs rediss://" if name in _TLS_OPTIONS else f" is not known; with rediss://, {_TLS_NAMES} are"
            raise ValueError(f"redis.url: its option {name!r}{needs}")
        self._tls = _tls(options) if scheme is SSLConnection else None

    async def connect(self, pushed: Pushed, address: Address | None = None) -> tuple[Link, Greeting]:
        """Connect and introduce ourselves.

        Args:
            pushed: Takes what comes unasked.
            address: Of another node of the same cluster.

        Raises:
            BusOutOfReachError: That did not work within `ANSWER_SECONDS`.
        """
        where = self.where if address is None else str(address)
        link = Link(where, pushed)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._open(link, address or self.address)
                return link, _greeting(await link.ask(self._hello))
        except TimeoutError:
            # A server without TLS waits for more of what it cannot read.
            link.fail(NO_ANSWER if self._tls is None else f"{NO_ANSWER}; {_IS_IT_TLS}")
        except ssl.SSLCertVerificationError as error:
            link.fail(f"has a certificate that is not accepted: {error.verify_message}")
        except ssl.SSLError as error:
            link.fail(f"cannot be spoken to in TLS ({error.reason or error}); {_IS_IT_TLS}")
        except OSError as error:
            link.fail(f"is out of reach: {error.strerror or error}")
        except _NoRedisError as error:
            link.fail(str(error))
        except BusOutOfReachError:
            pass  # the link knows why
        except BaseException:
            await link.close()
            raise
        await link.close()
        raise link.error()

    async def _open(self, link: Link, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._path is None:
                await loop.create_connection(lambda: link, address.host, address.port, ssl=self._tls)
            else:
                await loop.create_unix_connection(lambda: link, self._path)
        except BaseException:
            link.disown()
            raise


async def shards(link: Link, host: str) -> list[Shard]:
    """Ask a node of a cluster who serves which slots.

    Args:
        link: To that node.
        host: Where that node is, for nodes that do not know their own name.

    Raises:
        BusOutOfReachError: It does not answer in time, or some slots are served by nobody.
    """
    ranges = await link.answer(_CLUSTER_SLOTS)
    found = [
        Shard(first, last, [Address(host if name in _SAME_HOST else name.decode(), port) for name, port, *_ in nodes])
        for first, last, *nodes in ranges
    ]
    if sum(shard.last - shard.first + 1 for shard in found) != SLOTS:
        link.fail("belongs to a cluster that does not serve all slots")
        raise link.error()
    return found


class _NoRedisError(Exception):
    """Whoever answers is not the kind of server that is wanted; the message says how."""


def _greeting(hello: object) -> Greeting:
    if not isinstance(hello, dict) or b"mode" not in hello:
        raise _NoRedisError("is no Redis")
    if hello[b"mode"] == b"sentinel":
        raise _NoRedisError("is a Sentinel; redis.url must lead to a Redis itself")
    version = bytes(hello.get(b"version", b"")).partition(b".")[0]
    return Greeting(in_cluster=hello[b"mode"] == b"cluster", version=int(version) if version.isdigit() else 0)


def _tls(options: dict[str, Any]) -> ssl.SSLContext:
    wanted = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    try:
        return SSLConnection(**wanted).ssl_context.get()
    except (OSError, ValueError, RedisError) as error:
        raise ValueError(f"redis.url: its options for TLS do not work: {error}") from None
