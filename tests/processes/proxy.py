"""nginx before coordinators, with the configuration of the deployment example: only addresses and paths are others."""

import asyncio
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

CONFIGURATION = Path(__file__).resolve().parents[2] / "config" / "deploy" / "nginx.conf"
START_SECONDS = 20
_TRIES = 5


class Proxy:
    """A running nginx.

    Attributes:
        address: Where it answers.
        log: What it has logged of requests.
    """

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self._process = process
        self.address = address
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.log.append(line.decode())

    async def stop(self) -> None:
        """Stop it; what it has logged is complete then."""
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(START_SECONDS):
            await self._process.wait()
            await self._reading


def rendered(coordinators: Sequence[str], port: int, folder: Path) -> str:
    """Return the configuration for these coordinators (`host:port`), to listen on a local port."""
    text = CONFIGURATION.read_text(encoding="utf-8").replace("/tmp/", f"{folder}/")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    for number, address in enumerate(coordinators, start=1):
        text = text.replace(f"coordinator-{number}:8080", address)
    assert not re.search(r"coordinator-\d", text)
    return text


async def check(configuration: str, folder: Path) -> str:
    """Let nginx judge a configuration; return what it says, "" if nothing is wrong."""
    process = await _nginx(configuration, folder, "-t", "-q")
    async with asyncio.timeout(START_SECONDS):
        _, said = await process.communicate()
    assert (process.returncode == 0) is (not said)
    return said.decode()


@asynccontextmanager
async def running_proxy(coordinators: Sequence[str]) -> AsyncIterator[Proxy]:
    """Run nginx before these coordinators."""
    with _folder() as folder:
        proxy = await _start(coordinators, folder)
        try:
            yield proxy
        finally:
            await proxy.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, nginx gives up its rights
        yield folder


async def _start(coordinators: Sequence[str], folder: Path) -> Proxy:
    for _ in range(_TRIES):
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        process = await _nginx(rendered(coordinators, port, folder), folder)
        if await _answers(process, port):
            return Proxy(process, f"http://127.0.0.1:{port}")
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
        assert "Address already in use" in said, said  # somebody took the port in between
    raise AssertionError("no port was free")


async def _answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until it accepts connections; tell whether it does, or has ended."""
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)  # nginx does not say when it is ready
            else:
                writer.close()
                return True
    return False


async def _nginx(configuration: str, folder: Path, *options: str) -> asyncio.subprocess.Process:
    path = folder / "nginx.conf"
    path.write_text(configuration, encoding="utf-8")
    # In the foreground, as in a container.
    arguments = ["-e", "stderr", "-p", str(folder), "-c", str(path), "-g", "daemon off;", *options]
    return await asyncio.create_subprocess_exec(
        "nginx", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
