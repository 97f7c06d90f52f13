"""`coordinator serve --workers N`: several processes behind one port, and one that looks after them.

Owns what they share: the port, the embedded database, the settings. Each worker is a node like any other; they hear of
each other through Redis, and the kernel spreads new connections over them (SO_REUSEPORT). A client that polls would
reach a different one with each request, so only the websocket transport is served; and whoever reads `/metrics` reads
those of whichever worker answers.
"""

import ctypes
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import structlog

from coordinator.app import database_url, signing_secret
from coordinator.cli.common import run
from coordinator.cli.process import StopSignals, check_settings, serve
from coordinator.cli.supervisor import READY_MARK, Supervisor
from coordinator.settings import ServerSettings, Settings, SettingsError
from coordinator.telemetry import configure_logging

WORKER_OPTION = "--as-worker"
_WORKER_STOP_SECONDS = 8.0
"""When a worker that was told to stop is gone at the latest: before it would be killed."""
_PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: on standard input, because there are secrets in it.

    Attributes:
        worker: Its number.
        settings: All settings; the port, the database and the secret are decided in them.
    """

    worker: int
    settings: Settings


async def supervise(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Run as many workers as the settings say until SIGTERM or SIGINT.

    Args:
        settings: Everything that can be set.
        on_ready: Called once, with the address, when all of them answer.

    Raises:
        SettingsError: Settings that do not go together.
        EmbeddedServerError: The embedded database does not start.
        OSError: The port is taken.
        WorkersFailedError: Workers do not start, or die again and again.
    """
    if settings.redis.url is None:
        problem = "several workers hear of each other through Redis: set redis.url, or leave workers at 1"
        raise SettingsError([f"server.workers: {problem}"])
    check_settings(settings)
    signals = StopSignals()
    with reserved_port(settings.server) as port:
        async with database_url(settings) as url:
            shared = msgspec.structs.replace(
                settings,
                server=msgspec.structs.replace(settings.server, port=port),
                mongo=msgspec.structs.replace(settings.mongo, url=url),
                auth=msgspec.structs.replace(settings.auth, secret=signing_secret(settings)),
            )
            numbers = range(1, settings.server.workers + 1)
            orders = [msgspec.json.encode(Order(worker=number, settings=shared)) for number in numbers]
            await Supervisor(_command(), orders).run(signals.received(), on_ready)


def work() -> None:
    """Be a worker: take the order from standard input, and serve until told to stop or left alone.

    Raises:
        SettingsError: There is no order: nobody supervises this process.
        OutcomeUnknownError: The database is out of reach.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    order = _read_order()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    settings = order.settings
    configure_logging(settings.log.level, settings.log.format)
    structlog.contextvars.bind_contextvars(worker=order.worker)
    run(serve(settings, lambda _, address: print(f"{READY_MARK}{address}", flush=True), _WORKER_STOP_SECONDS))


@contextmanager
def reserved_port(server: ServerSettings) -> Iterator[int]:
    """Give the port that workers can share, for as long as this lasts; nobody listens to it yet.

    Raises:
        SettingsError: This platform does not let processes share a port.
        OSError: Somebody else listens there.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        problem = "on this platform several processes cannot share a port (SO_REUSEPORT); leave workers at 1"
        raise SettingsError([f"server.workers: {problem}"])
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe, socket.socket(family, kind, protocol) as reserved:
        for one in (probe, reserved):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Without asking to share: another coordinator with workers must not get half of our clients, nor we of its.
            probe.bind(address)
            address = (address[0], probe.getsockname()[1], *address[2:])
            probe.close()
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(address)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "somebody else listens there" if taken else error.strerror
            raise OSError(f"cannot listen on {server.host}:{server.port}: {reason}") from error
        yield reserved.getsockname()[1]


def _command() -> Sequence[str]:
    return [sys.executable, "-m", "coordinator", "serve", WORKER_OPTION]


def _read_order() -> Order:
    line = sys.stdin.buffer.readline()
    try:
        return msgspec.json.decode(line, type=Order)
    except msgspec.DecodeError:
        raise SettingsError([f"{WORKER_OPTION}: is for processes that `serve --workers N` starts"]) from None


def _end_with_parent() -> None:
    # Standard input ends when the parent does, on every platform; and when it has died before the kernel was asked.
    while os.read(sys.stdin.fileno(), 1):
        pass
    signal.raise_signal(signal.SIGTERM)
