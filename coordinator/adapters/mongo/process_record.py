"""Who runs the database of a data directory: one coordinator at most, and the server that it started.

Owns the lock on the directory, the record ``database.json``, the checks that a process named there is still the one it
was, and ending a server whose coordinator was killed. Must not know how a server is started or what is stored in it.

The lock decides: the kernel drops it when a coordinator dies. The record tells people and other commands who holds it.
"""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

import msgspec
import psutil
import structlog

_RECORD_NAME = "database.json"
_END_SECONDS = 15.0

# Linux derives a start time from the boot time, which it reports in whole seconds and corrects with the clock.
_CLOCK_TOLERANCE_SECONDS = 2.0

_log = structlog.get_logger("coordinator.embedded")


class EmbeddedServerError(Exception):
    """The embedded database cannot run. The message says why and what to do about it."""


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A process that cannot be mistaken for a later one with the same number.

    Attributes:
        pid: The process id.
        create_time: When the process began, in seconds since the epoch.
    """

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Reads the identity of a running process.

        Raises:
            psutil.Error: There is no such process.
        """
        return cls(pid=pid, create_time=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Returns this process, or None when it has ended, even if nobody has collected its exit status yet."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.create_time) > _CLOCK_TOLERANCE_SECONDS:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except (psutil.Error, ValueError):  # ValueError: a negative number in a damaged file
            return None
        return process


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of ``database.json``.

    Attributes:
        database: The database server.
        coordinator: The coordinator that started it and stops it.
        url: Where the server answers; None while it is starting.
    """

    database: ProcessIdentity
    coordinator: ProcessIdentity
    url: str | None = None

    @classmethod
    def read(cls, data_dir: Path) -> "ProcessRecord | None":
        """Returns the record of a data directory, or None when there is none that can be understood."""
        try:
            return _DECODER.decode((data_dir / _RECORD_NAME).read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def find_database(self, data_dir: Path) -> psutil.Process | None:
        """Returns the recorded server if it still runs on this data directory, else None."""
        process = self.database.find()
        return process if process is not None and is_database(process, storage_of(data_dir)) else None

    def is_current(self, data_dir: Path) -> bool:
        """Tells whether both processes run: a server whose coordinator is dead is about to be ended."""
        return self.find_database(data_dir) is not None and self.coordinator.find() is not None

    def write(self, data_dir: Path) -> None:
        """Replaces the record of a data directory at one stroke: a reader sees the old one or the new one.

        Raises:
            OSError: The directory cannot be written.
        """
        with tempfile.NamedTemporaryFile(dir=data_dir, prefix=f".{_RECORD_NAME}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(msgspec.json.encode(self))
                file.close()
                temporary.replace(data_dir / _RECORD_NAME)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise

    @staticmethod
    def remove(data_dir: Path) -> None:
        """Removes the record of a data directory, if there is one.

        Raises:
            OSError: The directory cannot be written.
        """
        (data_dir / _RECORD_NAME).unlink(missing_ok=True)


def is_database(process: psutil.Process, storage: Path) -> bool:
    """Tells whether a process is the embedded server on this storage directory, going by its command line."""
    try:
        arguments = process.cmdline()
    except psutil.Error:
        return False
    named = any(Path(argument).name.startswith("secantusd") for argument in arguments)
    return named and str(storage) in arguments


def find_databases(storage: Path) -> list[int]:
    """Returns the ids of all running servers on this storage directory, recorded or not."""
    return [process.pid for process in psutil.process_iter() if is_database(process, storage)]


def storage_of(data_dir: Path) -> Path:
    """Returns where the database of a data directory lies; the same for every spelling of the directory."""
    return data_dir.resolve() / "database"


def running_url(data_dir: Path) -> str | None:
    """Returns the URL of the server that a live coordinator runs on a data directory, or None when there is none."""
    record = ProcessRecord.read(data_dir)
    return record.url if record is not None and record.is_current(data_dir) else None


class DirectoryLock:
    """The right of one coordinator to a data directory, from ``take`` to ``release`` or to its death."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    @classmethod
    def take(cls, data_dir: Path) -> "DirectoryLock":
        """Takes the right to a directory, which is made if it is missing.

        Raises:
            EmbeddedServerError: The directory is unusable, or in use by another coordinator.
        """
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot use {data_dir} as the data directory ({error.strerror}): name another one with --data-dir"
            ) from error
        lock = cls(directory)
        try:
            lock._take(data_dir)
        except BaseException:
            lock.release()
            raise
        return lock

    def release(self) -> None:
        """Gives the right up."""
        os.close(self._directory)

    def _take(self, data_dir: Path) -> None:
        record = ProcessRecord.read(data_dir)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(data_dir, record) from None
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot lock the data directory {data_dir} ({error.strerror}): name one on a local disk with "
                "--data-dir"
            ) from error
        # The lock alone does not settle it: some network file systems grant it to everyone.
        if record is not None and record.coordinator.pid != os.getpid() and record.is_current(data_dir):
            raise _in_use(data_dir, record)


def _in_use(data_dir: Path, record: ProcessRecord | None) -> EmbeddedServerError:
    owner = f"process {record.coordinator.pid}" if record else "it is just starting or stopping"
    return EmbeddedServerError(
        f"the data directory {data_dir} is in use by another coordinator ({owner}): stop it, or name another directory "
        "with --data-dir"
    )


def end_leftover(data_dir: Path) -> None:
    """Ends the recorded server if it still runs: SIGTERM, and SIGKILL after 15 seconds.

    Call it with the directory's lock in hand: then its coordinator is dead. Blocks until the server has ended.

    Raises:
        EmbeddedServerError: The server does not end.
    """
    record = ProcessRecord.read(data_dir)
    if record is None:
        return
    for signal_name in ("terminate", "kill"):
        if (process := record.find_database(data_dir)) is None:
            return
        _log.warning("database_left_behind", pid=process.pid, coordinator_pid=record.coordinator.pid, sent=signal_name)
        try:
            process.terminate() if signal_name == "terminate" else process.kill()
            process.wait(_END_SECONDS)
        except psutil.AccessDenied as error:
            raise EmbeddedServerError(
                f"a killed coordinator of another user left its database behind: end process {process.pid} first"
            ) from error
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue
    if (process := record.find_database(data_dir)) is not None:
        raise EmbeddedServerError(f"a killed coordinator left its database behind: end process {process.pid} first")


_DECODER = msgspec.json.Decoder(ProcessRecord)
