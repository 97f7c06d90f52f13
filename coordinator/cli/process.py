"""One node as a process: it runs until a signal comes, and then ends in time, whatever hangs (SPEC section 5)."""

import asyncio
import atexit
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from coordinator.app import Coordinator, database_url, mongo_ports, running, signing_secret
from coordinator.settings import Settings, SettingsError
from coordinator.telemetry import get_logger
from coordinator.transports.web.demo import Issue

STOP_SECONDS = 9.0
"""When a process that was told to stop is gone at the latest; a service manager waits 10 seconds or more."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = get_logger("process")


class StopSignals:
    """SIGTERM and SIGINT, from here until the process is gone. The first begins the stop, further ones change nothing.

    Make it on the main thread, in a coroutine of the loop that is to be told.

    Args:
        patience_seconds: When to end the process after the first signal if it has not ended by then, with exit code 0
            and whatever other processes it has started. It is for what cannot be waited for otherwise, such as the
            threads of a database's driver or a database that is suspended.
    """

    def __init__(self, patience_seconds: float = STOP_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._received = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False
        for number in _SIGNALS:
            # Not the loop's own handlers: they end with the loop, and then a second signal would kill the process.
            signal.signal(number, self._receive)
            # Nor this one to the very end: what Python handles, it hands back to the kernel while it shuts down.
            atexit.register(signal.signal, number, signal.SIG_IGN)

    async def received(self) -> None:
        """Wait for the first signal."""
        await self._received.wait()
        _log.info("stopping")

    def _receive(self, *_: Any) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        last_resort = threading.Timer(self._patience_seconds, _end_hard, [self._patience_seconds])
        last_resort.daemon = True
        last_resort.start()
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._received.set)


def _end_hard(after_seconds: float) -> None:
    try:
        children = psutil.Process().children(recursive=True)
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        _log.error("stop_cut_short", after_seconds=after_seconds, killed=[child.pid for child in children])
    finally:
        os._exit(0)


async def serve(
    settings: Settings,
    on_ready: Callable[[Coordinator, str], None],
    patience_seconds: float = STOP_SECONDS,
    demo_issue: Issue | None = None,
) -> None:
    """Run one node until SIGTERM or SIGINT.

    Args:
        settings: Everything that can be set.
        on_ready: Called once, with the node and the address, when it answers.
        patience_seconds: See `StopSignals`.
        demo_issue: Signs tokens for whoever signs in by name; None, but in a demo.

    Raises:
        SettingsError: Settings that do not go together.
        OutcomeUnknownError: The database is out of reach.
    """
    check_settings(settings)
    signals = StopSignals(patience_seconds)
    async with database_url(settings) as url, mongo_ports(settings, url) as ports:
        coordinator = Coordinator(ports, settings, demo_issue)
        async with running(coordinator) as address:
            _log.info("listening", address=address, node=coordinator.node)
            on_ready(coordinator, address)
            await signals.received()


def check_settings(settings: Settings) -> None:
    """Refuse settings that do not go together.

    Raises:
        SettingsError: They do not.
    """
    if settings.auth.jwks is not None:
        raise SettingsError(["auth.jwks: this version verifies HS256 tokens only; set auth.secret instead"])
    signing_secret(settings)
