"""Coordinators and commands in processes of their own: some to be killed, some to be read."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.embedded import running_url
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot

SECRET = "a secret of these tests, long enough for HS256"
SIGNED = {"COORDINATOR_AUTH__SECRET": SECRET}
START_SECONDS = 60
COMMAND_SECONDS = 60


async def run(
    *arguments: str, variables: dict[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str, str]:
    """Run `coordinator` with these arguments; return the exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "coordinator",
        *arguments,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **(variables or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(COMMAND_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class ServerProcess:
    """`coordinator serve` on one data directory; each start is another process on the same port.

    Args:
        data_dir: The data directory; what the processes log lies beside it.
        mongo_url: A database server to use in place of an embedded one.
        variables: Settings.
    """

    def __init__(self, data_dir: Path, mongo_url: str | None = None, **variables: str) -> None:
        self.data_dir = data_dir
        self._database_options = [] if mongo_url is None else ["--mongo-url", mongo_url]
        self.address = ""
        self._port = 0
        self._log = data_dir.with_suffix(".log")
        self._environment = {
            **os.environ,
            "COORDINATOR_AUTH__SECRET": SECRET,
            "COORDINATOR_LOG__FORMAT": "json",
            "COORDINATOR_LIMITS__COMMANDS_PER_SECOND": "100000",
            "COORDINATOR_LIMITS__COMMAND_BURST": "100000",
            **variables,
        }

    @property
    def log(self) -> str:
        """Everything that its processes have logged."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    async def start(self, *options: str) -> str:
        """Start and wait until it answers; return the address."""
        command = [sys.executable, "-m", "coordinator", "serve", "--data-dir", str(self.data_dir)]
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                "--port",
                str(self._port),
                *self._database_options,
                *options,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.output: list[str] = []
        assert self.process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            async for line in self.process.stdout:
                self.output.append(line.decode())
                match = re.search(r"ready at (http://127\.0\.0\.1:(\d+))/", self.output[-1])
                if match:
                    self.address, self._port = match[1], int(match[2])
                    return self.address
        raise AssertionError(f"it ended with {await self.process.wait()}: {self.output} {self.log[-2000:]}")

    def database_process(self) -> psutil.Process:
        """Return the embedded database's process."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if "secantusd" in " ".join(child.cmdline()):
                return child
        raise AssertionError("it runs no database")

    async def kill(self, *, database_too: bool = False) -> None:
        """kill -9."""
        if database_too:
            self.database_process().kill()
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, as a service manager does; return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()

    def token(self, user: str, role: Role = Role.PARTICIPANT) -> str:
        """Sign a token."""
        return Hs256Tokens(SECRET, clock=SystemClock()).issue(UserId(user), role, ttl_seconds=600)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Look into its database."""
        url = running_url(self.data_dir)
        assert url is not None
        database = connect(url, "conversation")
        try:
            yield database
        finally:
            await database.close()

    async def offer(self, users: list[str], start_in: float = 0.2) -> SessionId:
        """Offer a slot to `users` that starts in so many seconds; return its session's id once it is open."""
        async with self.database() as database:
            catalog, bookings = MongoCatalog(database), MongoBookings(database)
            ids, now = ObjectIds(), datetime.now(UTC)
            slot = TimeSlot(
                id=SlotId(ids.new_id()),
                target_language_code=Language.SPANISH,
                level=Level.C1,
                start_time=now + timedelta(seconds=start_in),
                duration_minutes=45,
                max_participants=max(8, len(users)),
                is_active=True,
                created_at=now,
                updated_at=now,
            )
            for user in users:
                await bookings.add(
                    Registration(
                        id=ids.new_id(),
                        time_slot_id=slot.id,
                        user_id=UserId(user),
                        status=RegistrationStatus.REGISTERED,
                        registered_at=now,
                    )
                )
            await catalog.add_slot(slot)
            async with asyncio.timeout(10):
                # The slot names its session before the session is opened; it can be joined once its log has begun.
                while (found := await catalog.slot(slot.id)) is None or found.session_id is None:
                    await SystemClock().sleep(0.02)
                while not await MongoJournal(database).events_after(found.session_id, 0, 1):
                    await SystemClock().sleep(0.02)
            return found.session_id
