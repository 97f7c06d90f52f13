"""Making an embedded server that was told to stop do so at once.

Owns a way around one flaw of the server: it closes the socket that it listens on while another of its threads waits
there, which on Linux does not wake that thread, and then gives it two seconds. One last connection wakes it.
Must not know who stops the server, and how; without this, every stop takes those two seconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psutil

_PAUSE_SECONDS = 0.02


@contextlib.asynccontextmanager
async def hastened(pid: int, host: str, port: int) -> AsyncIterator[None]:
    """Hasten the end of a server for as long as the body runs, which sends the signal and waits.

    Args:
        pid: The server's process; it may have ended.
        host: Where it listens.
        port: Where it listens.
    """
    task = asyncio.create_task(_hasten(pid, host, port), name="embedded-database-end")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _hasten(pid: int, host: str, port: int) -> None:
    # Not before the socket is gone: a connection that comes together with the signal wakes a thread that may take the
    # signal for itself, and the main thread, which alone can act on it, would sleep on.
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        while await asyncio.to_thread(_listens, process):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(_PAUSE_SECONDS)
        _, writer = await asyncio.open_connection(host, port)
        writer.close()


def _listens(process: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections("tcp"))
