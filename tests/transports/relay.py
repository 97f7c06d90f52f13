"""A way to the database that can be cut and mended."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.database import client, server_url


class Relay:
    """Passes bytes between the coordinator and the database's primary.

    Attributes:
        url: What the coordinator is to connect to.
    """

    def __init__(self) -> None:
        self.url = ""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        """Let bytes through, as at the beginning."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        # The same server, but for its address; and the driver must not go and ask for the real one.
        credentials = re.match(r"mongodb://([^@/]*@)?", server_url())
        assert credentials is not None
        self.url = f"{credentials[0]}127.0.0.1:{self._port}/?directConnection=true"

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        address = client().address
        assert address is not None
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(*address)
            self._writers.add(there)
            await asyncio.gather(_pass_on(reader, there), _pass_on(back, writer))
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.close()
                    with suppress(OSError):
                        await end.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def relayed_database() -> AsyncIterator[Relay]:
    """Give a relay that lets everything through, and take it away again."""
    relay = Relay()
    await relay.mend()
    try:
        yield relay
    finally:
        await relay.cut()
