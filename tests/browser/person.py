"""Somebody at a browser: a context of their own, the pages' words, and what can be seen in a room."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, WebSocketRoute, expect

from coordinator.domain.events import Role
from tests.processes.server import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
_PREPARE = ROOT / "tests" / "browser" / "prepare.js"
_EXPLAIN = ROOT / "tests" / "browser" / "explain.js"
PICTURES = ROOT / "build" / "screenshots"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

# What a browser says by itself when a server is gone, or refuses; the pages tell it in their own words.
_EXPECTED = re.compile(
    r"WebSocket connection to|WebSocket is already in CLOSING|Failed to load resource|net::ERR_|willReadFrequently",
    re.IGNORECASE,
)
_PLAYS_SECONDS = 60
_TABS = 40
_PLAYS = """(video) => new Promise((resolve) => {
  const before = video.getVideoPlaybackQuality().totalVideoFrames;
  const time = video.currentTime;
  const look = () => {
    const { totalVideoFrames } = video.getVideoPlaybackQuality();
    const plays = video.videoWidth > 0 && totalVideoFrames > before + 3 && video.currentTime > time;
    plays ? resolve() : requestAnimationFrame(look);
  };
  look();
})"""


@dataclass
class Person:
    """One browser context with one page.

    Attributes:
        everyone: All people of the test, this one too.
        complaints: What the page has said on its console.
        lines: Its WebSockets, both ends of each, for `cut`.
    """

    name: str
    context: BrowserContext
    page: Page
    everyone: "list[Person]" = field(default_factory=list, repr=False)
    complaints: list[str] = field(default_factory=list)
    lines: list[tuple[WebSocketRoute, WebSocketRoute]] = field(default_factory=list)

    def button(self, name: str, *, exact: bool = False) -> Locator:
        """Find a button by what it is called."""
        return self.page.get_by_role("button", name=name, exact=exact)

    def heading(self, name: str) -> Locator:
        """Find a heading."""
        return self.page.get_by_role("heading", name=name)

    def tile(self, user: str) -> Locator:
        """Find somebody's tile in the room."""
        return self.page.locator(f'.tile[data-user="{user}"]')

    async def tabs_to(self, target: Locator) -> None:
        """Press Tab until something has the focus, as who has no mouse does once it is there."""
        await expect(target).to_be_visible()
        for _ in range(_TABS):
            await self.page.keyboard.press("Tab")
            if await target.evaluate("(element) => element === document.activeElement"):
                return
        pytest.fail(f"{self.name} does not get to {target} in {_TABS} steps")

    async def sees_playing(self, user: str) -> None:
        """Wait until the picture of somebody really plays: it has a size, its time goes on, frames are decoded."""
        video = self.tile(user).locator("video:not(.is-hidden)")
        await expect(video).to_have_count(1, timeout=30_000)
        try:
            async with asyncio.timeout(_PLAYS_SECONDS):
                await video.evaluate(_PLAYS)
        except TimeoutError:
            explain = _EXPLAIN.read_text(encoding="utf-8")
            seen = {person.name: await person.page.evaluate(explain) for person in self.everyone}
            pytest.fail(f"{self.name} sees no picture that plays: {json.dumps(seen, indent=1)}")

    async def goes_in(self, server: ServerProcess, session: str, *, camera: bool = True, mic: bool = True) -> None:
        """Open a room's link, try the devices, and go in."""
        await self.page.goto(f"{server.address}/#session={session}&token={server.token(self.name)}")
        if camera or mic:
            await self.button("Try camera and microphone").click()
            await expect(self.button("Camera", exact=True)).to_have_attribute("aria-pressed", "true")
            await expect(self.button("Microphone", exact=True)).to_have_attribute("aria-pressed", "true")
            if not camera:
                await self.button("Camera", exact=True).click()
            if not mic:
                await self.button("Microphone", exact=True).click()
        await self.button("Join the room").click()
        await expect(self.button("Leave")).to_be_visible()
        await expect(self.tile(self.name)).to_be_visible()

    async def restores_the_tab(self) -> None:
        """Close the page and have it come back by itself, as after a restart of the browser: nobody has clicked."""
        before = self.page
        stored = await before.evaluate("JSON.stringify(sessionStorage)")
        await self.context.add_init_script(f"Object.assign(sessionStorage, {stored})")
        self.page = await self.context.new_page()
        self.listen_to(self.page)
        await before.close()
        await self.page.goto(before.url)

    def listen_to(self, page: Page) -> None:
        """Note what a page complains of on its console."""
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _EXPECTED.search(message.text):
            self.complaints.append(message.text)

    def hears(self, name: str, payload: dict[str, Any]) -> None:
        """Have the page be told something transient, in the server's form and on the server's connection."""
        self.lines[-1][0].send(f"42/rooms,{json.dumps([name, payload])}")

    async def cut(self) -> None:
        """Have the connection to the server break, under the page."""
        for end in self.lines.pop():
            await end.close(code=4000, reason="cut")

    async def axe(self) -> list[str]:
        """Return what axe-core finds wrong with the page."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        # What fades in has another contrast for a moment.
        found = await self.page.evaluate(
            """async () => {
              const passing = document.getAnimations().filter(({ effect }) => effect.getTiming().iterations === 1);
              await Promise.allSettled(passing.map((animation) => animation.finished));
              return axe.run();
            }"""
        )
        return [
            f"{violation['id']}: {violation['help']}: {json.dumps([node['html'][:160] for node in violation['nodes']])}"
            for violation in found["violations"]
        ]

    async def too_wide(self) -> list[str]:
        """Return what makes the page wider than its window, if it is, and buttons too narrow for their words."""
        wide: list[str] = await self.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              const isWide = document.documentElement.scrollWidth > width;
              const isOut = (element) => isWide && element.getBoundingClientRect().right > width + 1;
              const spills = (element) => element.matches("button") && element.scrollWidth > element.clientWidth;
              const all = [...document.querySelectorAll("body *")];
              const found = all.filter((element) => isOut(element) || spills(element));
              return found.map((element) => element.outerHTML.slice(0, 240));
            }"""
        )
        return wide

    async def axe_in_both_schemes(self) -> list[str]:
        """Do so in the light and in the dark."""
        found: list[str] = []
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{scheme}: {line}" for line in await self.axe()]
        await self.page.emulate_media(color_scheme="light")
        return found

    async def picture(self, name: str) -> None:
        """Write what is to be seen to build/screenshots, for people to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png")


class People:
    """Everyone in a test."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._all: list[Person] = []

    async def come(
        self,
        name: str,
        *,
        viewport: dict[str, int] | None = None,
        locale: str = "en-US",
        permissions: tuple[str, ...] = ("camera", "microphone"),
        **options: Any,
    ) -> Person:
        """Open a browser window of somebody's own; it goes nowhere yet."""
        size: Any = viewport or DESKTOP
        context = await self._browser.new_context(
            viewport=size, locale=locale, timezone_id="Europe/Paris", permissions=list(permissions), **options
        )
        context.set_default_timeout(20_000)
        await context.add_init_script(_PREPARE.read_text(encoding="utf-8").replace("__PERSON__", f"{len(self._all)}"))
        page = await context.new_page()
        person = Person(name, context, page, self._all)
        person.listen_to(page)

        def pass_on(route: WebSocketRoute) -> None:
            person.lines.append((route, route.connect_to_server()))

        await page.route_web_socket(re.compile(r"/socket\.io/"), pass_on)
        self._all.append(person)
        return person

    async def moderate(self, server: ServerProcess, name: str = "mona", **options: Any) -> Person:
        """Have a moderator open the console."""
        person = await self.come(name, **options)
        await person.page.goto(f"{server.address}/console#token={server.token(name, Role.MODERATOR)}")
        await expect(person.heading("Live rooms")).to_be_visible()
        return person

    async def close(self) -> None:
        """Close every window; fail if a page has complained."""
        complaints = [f"{person.name}: {text}" for person in self._all for text in person.complaints]
        for person in self._all:
            await person.context.close()
        assert not complaints, complaints
