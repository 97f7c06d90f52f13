"""A server process, and people who look at its pages in a real browser with pretended cameras and microphones."""

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.person import People
from tests.processes.server import ServerProcess

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream=device-count=10",
    "--allow-loopback-in-peer-connection",
    # It asks its maker's servers otherwise; the pages must do with this machine alone.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
]
_TURN_SECONDS = 600
_DEMO_SECONDS = 60


@pytest.fixture
async def turn(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    """Have one test at a time use a browser: several of them would starve each other's video."""
    root = tmp_path_factory.getbasetemp().parent
    with (root / "browser.lock").open("w") as lock:
        async with asyncio.timeout(_TURN_SECONDS):
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
async def browser(turn: None) -> AsyncIterator[Browser]:
    """Chromium, as the system has it."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "there is no Chromium; scripts/test installs it"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def people(browser: Browser) -> AsyncIterator[People]:
    """Make people. What their pages complain of on the console fails the test at its end."""
    people = People(browser)
    yield people
    await people.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server with slots that tests offer, and short waits for those who are gone."""
    process = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false")
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server as `scripts/run` starts it, once all of the demo is on offer: it says so last."""
    process = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false", COORDINATOR_AUTH__SECRET="")
    await process.start("--demo")
    assert process.process.stdout is not None
    async with asyncio.timeout(_DEMO_SECONDS):
        async for line in process.process.stdout:
            if line.startswith(b"Also on offer"):
                break
    yield process
    await process.stop()
