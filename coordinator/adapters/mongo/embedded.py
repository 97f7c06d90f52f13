"""The embedded database: a MongoDB-compatible server that lives and dies with the coordinator.

Owns the server process: finding the program, starting it, its log, starting it again when it dies, stopping it. Must
not know what is stored in it, and must never import it: the server (PyPI ``SecantusDB``) is licensed under the GPL and
runs as a process of its own. Who may use the data directory is decided in ``process_record``.

* No orphans: on Linux the kernel ends the server when the coordinator dies, however it dies. Elsewhere the next start
  finds the server in the record and ends it.
* One address: a server that dies is started again on the same port, so clients reconnect by themselves.
"""

import asyncio
import contextlib
import errno
import os
import re
import shutil
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import psutil
import structlog

from coordinator.adapters.mongo.hastening import hastened
from coordinator.adapters.mongo.process_record import (
    DirectoryLock,
    EmbeddedServerError,
    ProcessIdentity,
    ProcessRecord,
    end_leftover,
    find_databases,
    running_url,
    storage_of,
)

__all__ = ["EmbeddedServer", "EmbeddedServerError", "running_url"]

_EXECUTABLE_NAME = "secantusd-py"
_HOST = "127.0.0.1"
_LISTENING = re.compile(r"listening on \S+:(\d+)")
_PORT_OF_URL = re.compile(rf"mongodb://{re.escape(_HOST)}:(\d+)/")
_TERMINATE_SECONDS = 15.0
_KEPT_LOG_LINES = 50
_LOG_LINES_IN_ERRORS = 15
_LOG_LINE_LIMIT_BYTES = 1 << 20

_FIRST_RESTART_SECONDS = 0.1
_LAST_RESTART_SECONDS = 5.0
_STEADY_SECONDS = 10.0  # a server that ran this long starts the next series of restarts afresh
_LOCK_RETRY_SECONDS = 0.5

# Asks the kernel for SIGTERM on the death of the coordinator (PR_SET_PDEATHSIG = 1, kept across exec), makes sure that
# the coordinator did not die before that, and becomes the server. A program of its own and not a preexec_fn, because a
# respawn happens while the database driver's threads run, where Python code between fork and exec is unsafe.
_LAUNCHER = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGTERM); "
    "os.getppid() == int(sys.argv[1]) or sys.exit('the coordinator is gone'); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)

_log = structlog.get_logger("coordinator.embedded")


class _StorageLockedError(EmbeddedServerError):
    """Another process has the database files open; that may pass."""


class EmbeddedServer:
    """The database server of one data directory, kept running from ``start`` to ``stop``.

    The database lies in ``data_dir/database``; ``data_dir/database.json`` tells other commands where it answers. Close
    the clients of the server before stopping it.

    Args:
        data_dir: The coordinator's data directory; made if it is missing.
        durable: Whether an acknowledged write has reached the disk. False is for tests.
        executable: The server; None looks beside the running Python and then on the PATH.
        start_timeout_seconds: How long the server may take to answer, and its files to become free.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        executable: Path | None = None,
        start_timeout_seconds: float = 30,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._storage = storage_of(data_dir)
        self._durable = durable
        self._executable = executable
        self._start_timeout_seconds = start_timeout_seconds
        self._command: list[str] = []
        self._lock: DirectoryLock | None = None
        self._server: _ServerProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._stopping = asyncio.Lock()
        self._port = 0

    @property
    def url(self) -> str:
        """The ``mongodb://`` URL of the server, the same from ``start`` to ``stop``.

        Raises:
            RuntimeError: The server is not started.
        """
        if self._supervisor is None:
            raise RuntimeError("the embedded database is not started")
        return _url_of(self._port)

    async def start(self) -> str:
        """Starts the server, ending first what a killed coordinator may have left, and returns its URL.

        Call it on the main thread: the kernel counts the end of the starting thread as the death of the coordinator.

        Raises:
            EmbeddedServerError: The server is not installed, the directory is unusable or in use, or the server does
                not answer in time.
            RuntimeError: The server is started already, or this is not the main thread.
        """
        if self._lock is not None:
            raise RuntimeError("the embedded database is started already")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded database must be started on the main thread")
        self._lock = DirectoryLock.take(self._data_dir)
        try:
            self._write_configuration()
            self._command = self._make_command()
            await self._end_leftover()
            await self._launch_when_unlocked()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._keep_running(), name="embedded-database")
        return self.url

    async def stop(self) -> None:
        """Stops the server: SIGTERM, and SIGKILL after 15 seconds. Does nothing when there is none."""
        async with self._stopping:
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.gather(self._supervisor, return_exceptions=True)
                self._supervisor = None
            if self._server is not None:
                await self._server.end()
                self._server = None
                self._remove_record()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    async def _end_leftover(self) -> None:
        if (record := ProcessRecord.read(self._data_dir)) is None or record.find_database(self._data_dir) is None:
            return
        async with contextlib.AsyncExitStack() as stack:
            if record.url is not None and (match := _PORT_OF_URL.match(record.url)):
                await stack.enter_async_context(hastened(record.database.pid, _HOST, int(match[1])))
            await asyncio.to_thread(end_leftover, self._data_dir)

    @property
    def _config_file(self) -> Path:
        return self._data_dir / "database.toml"

    def _write_configuration(self) -> None:
        try:
            self._storage.mkdir(exist_ok=True)
            # Given an explicit file, and an empty one, the server does not go looking for settings on this machine.
            self._config_file.write_bytes(b"")
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot write to the data directory {self._data_dir} ({error.strerror}): make it writable, or name "
                "another one with --data-dir"
            ) from error

    def _make_command(self) -> list[str]:
        """Returns the command line without the port, which is known only after the first start."""
        # The launcher compares ids and does not take 1 for "orphaned": in a container the coordinator may well be 1.
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())] if sys.platform == "linux" else []
        return [
            *launcher,
            str(_find_executable(self._executable)),
            *("--config", str(self._config_file)),
            *("--host", _HOST),
            *("--storage-path", str(self._storage)),
            *("--log-level", "INFO"),
            # A change stream that lags behind the oplog skips without a word: keep a week of it.
            *("--noop-heartbeat-seconds", "10"),
            *("--oplog-retention-seconds", "604800"),
            *("--oplog-max-entries", "1000000"),
            *(["--sync-on-commit"] if self._durable else []),
        ]

    def _make_environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # Set by accident, it would quietly undo durability.
        environment.pop("SECANTUS_TEST_FAST_STORAGE", None)
        if not self._durable:
            environment["SECANTUS_TEST_FAST_STORAGE"] = "1"
        return environment

    async def _launch_when_unlocked(self) -> None:
        """Starts the first server on any free port, trying again while another process has the files open."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_timeout_seconds
        while True:
            try:
                await self._launch(port=0)
            except _StorageLockedError as error:
                if loop.time() + _LOCK_RETRY_SECONDS >= deadline:
                    raise
                _log.warning("database_files_locked", pids=find_databases(self._storage), error=str(error))
                # Nothing announces that a lock of an unknown process is free; an attempt is the only way to learn it.
                await asyncio.sleep(_LOCK_RETRY_SECONDS)
            else:
                return

    async def _launch(self, *, port: int) -> None:
        """Runs the server once, until it answers. If it does not, no process is left running.

        Raises:
            EmbeddedServerError: It ended, or did not answer in time.
        """
        try:
            server = await _ServerProcess.spawn([*self._command, "--port", str(port)], self._make_environment())
        except OSError as error:
            raise EmbeddedServerError(f"cannot run the embedded database ({error}): {self._command[0]}") from error
        self._server = server
        # Written before the server is ready: should this process be killed meanwhile, the next one knows whom to end.
        self._write_record(url=None)
        try:
            async with asyncio.timeout(self._start_timeout_seconds):
                answered_port = await server.listening()
        except TimeoutError:
            await server.end()
            raise EmbeddedServerError(
                f"the embedded database did not answer within {self._start_timeout_seconds:g} seconds on "
                f"{self._storage}, whose log ends with:\n{server.log_tail()}"
            ) from None
        if answered_port is None:
            raise self._explain_early_end(server, await server.wait())
        self._port = answered_port
        self._write_record(url=_url_of(answered_port))
        _log.info("database_started", pid=server.pid, port=answered_port, durable=self._durable)

    def _explain_early_end(self, server: "_ServerProcess", exit_code: int) -> EmbeddedServerError:
        if os.strerror(errno.EBUSY) in server.log_tail(_KEPT_LOG_LINES):
            holders = ", ".join(map(str, find_databases(self._storage))) or "unknown"
            return _StorageLockedError(
                f"another process has the database in {self._storage} open (process {holders}): end it, or name "
                f"another directory with --data-dir; its log ends with:\n{server.log_tail()}"
            )
        return EmbeddedServerError(
            f"the embedded database ended with exit code {exit_code} instead of starting on {self._storage}, whose log "
            f"ends with:\n{server.log_tail()}"
        )

    def _write_record(self, *, url: str | None) -> None:
        if self._server is None:
            return
        try:
            ProcessRecord(
                database=ProcessIdentity.of(self._server.pid), coordinator=ProcessIdentity.of(os.getpid()), url=url
            ).write(self._data_dir)
        except (OSError, psutil.Error) as error:
            # A full disk is no reason to take away a database that runs: only other commands miss the record.
            _log.warning("database_record_not_written", data_dir=str(self._data_dir), error=str(error))

    def _remove_record(self) -> None:
        try:
            ProcessRecord.remove(self._data_dir)
        except OSError as error:
            # The process that it names has ended, so whoever reads the record will not believe it.
            _log.warning("database_record_not_removed", data_dir=str(self._data_dir), error=str(error))

    async def _keep_running(self) -> None:
        """Starts the server again, on its port, whenever it ends; cancelled by ``stop``."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_RESTART_SECONDS
        while self._server is not None:
            began = loop.time()
            exit_code = await self._server.wait()
            if loop.time() - began >= _STEADY_SECONDS:
                pause = _FIRST_RESTART_SECONDS
            _log.error(
                "database_died",
                pid=self._server.pid,
                exit_code=exit_code,
                restart_in_seconds=pause,
                log_tail=self._server.log_tail(),
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_RESTART_SECONDS)
            try:
                await self._launch(port=self._port)
            except EmbeddedServerError as error:
                # Its process has ended, so the next turn comes straight back here, after a longer pause.
                _log.error("database_not_restarted", error=str(error))


class _ServerProcess:
    """One run of the server: its log, the moment when it answers, and its end."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self._process = process
        self._output = output
        self._lines: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self._listening: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._draining = asyncio.create_task(self._drain(), name="embedded-database-log")

    @classmethod
    async def spawn(cls, command: Sequence[str], environment: dict[str, str]) -> "_ServerProcess":
        """Starts the command.

        Raises:
            OSError: It cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            limit=_LOG_LINE_LIMIT_BYTES,
            # Ctrl-C in a terminal goes to the whole group, but the coordinator has yet to write its last commits.
            start_new_session=True,
        )
        assert process.stdout is not None
        return cls(process, process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    def log_tail(self, count: int = _LOG_LINES_IN_ERRORS) -> str:
        """Returns the last lines of the log."""
        return "\n".join(list(self._lines)[-count:])

    async def listening(self) -> int | None:
        """Waits until the server answers and returns its port; None when it ended before."""
        return await asyncio.shield(self._listening)

    async def wait(self) -> int:
        """Waits until the server has ended and its log is read, and returns its exit code."""
        exit_code = await self._process.wait()
        await asyncio.shield(self._draining)
        return exit_code

    async def end(self) -> None:
        """Ends the server, gently at first."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_TERMINATE_SECONDS), contextlib.AsyncExitStack() as stack:
                if self._listening.done() and (port := self._listening.result()):
                    await stack.enter_async_context(hastened(self.pid, _HOST, port))
                await self.wait()
        except TimeoutError:
            _log.warning("database_killed", pid=self.pid, after_seconds=_TERMINATE_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.wait()

    async def _drain(self) -> None:
        """Reads the log to its end: a server whose log nobody reads stands still once the pipe is full."""
        while True:
            try:
                raw = await self._output.readline()
            except ValueError:  # a line beyond the limit, which the reader has thrown away
                continue
            if not raw:
                break
            line = raw.decode(errors="replace").rstrip()
            self._lines.append(line)
            _log.debug("database_log", line=line)
            if (match := _LISTENING.search(line)) and not self._listening.done():
                self._listening.set_result(int(match[1]))
        if not self._listening.done():
            self._listening.set_result(None)


def _url_of(port: int) -> str:
    # At each write that may be repeated it looks through all of the last half hour, and sorts them once they are ten
    # thousand: within a minute of use a commit would take four times as long. Lost answers are found out about anyway.
    return f"mongodb://{_HOST}:{port}/?directConnection=true&serverSelectionTimeoutMS=2000&retryWrites=false"


def _find_executable(given: Path | None) -> Path:
    candidates = [given] if given else [Path(sys.executable).with_name(_EXECUTABLE_NAME)]
    if given is None and (on_path := shutil.which(_EXECUTABLE_NAME)):
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    raise EmbeddedServerError(
        f"the embedded database {given or _EXECUTABLE_NAME} is not installed: run "
        "`pip install 'conversation-coordinator[embedded]'`, or name a MongoDB with --mongo-url"
    )
