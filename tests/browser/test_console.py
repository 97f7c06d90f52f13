"""The moderators' console: what it shows as it happens, and what it does to those in a room."""

import asyncio
import re

from playwright.async_api import expect

from coordinator.domain.events import Role
from tests.browser.person import PHONE, People, Person
from tests.processes.server import ServerProcess


async def a_room(people: People, server: ServerProcess) -> tuple[Person, Person, Person, str]:
    """Have two people in a running session, and a moderator who looks at it."""
    session = await server.offer(["ada", "bruno"])
    ada, bruno = [await people.come(name) for name in ("ada", "bruno")]
    for person in (ada, bruno):
        await person.goes_in(server, session, camera=False)
    console = await people.moderate(server)
    return ada, bruno, console, session


def of(console: Person, user: str) -> str:
    return f'.person[data-user="{user}"]'


async def test_a_room_is_seen_as_it_happens(people: People, server: ServerProcess) -> None:
    ada, _bruno, console, _ = await a_room(people, server)
    card = console.page.get_by_role("listitem").filter(has=console.page.get_by_role("link", name="Spanish C1"))
    await expect(card).to_contain_text("Running")
    await expect(card).to_contain_text("2 of 8 seats are taken")
    assert not await console.axe_in_both_schemes()
    await console.picture("console-rooms")

    await console.page.get_by_role("link", name="Spanish C1").click()
    log = console.page.get_by_role("log")
    await expect(log).to_contain_text("The session has started.")
    row = console.page.locator(of(console, "ada"))
    await expect(row).to_contain_text("microphone on")
    await ada.button("Microphone", exact=True).click()
    await expect(row).to_contain_text("microphone off")
    await expect(log).to_contain_text("ada has switched the microphone off.")

    await console.button("Switch recording on").click()
    await ada.button("Recording").click()
    await ada.button("Allow recording", exact=True).click()
    await expect(row).to_contain_text("may be recorded now")
    await expect(log).to_contain_text("ada may be recorded from now on (consent given).")
    assert not await console.axe_in_both_schemes()
    await console.picture("console-session")
    await console.page.emulate_media(color_scheme="dark")
    await console.picture("console-session-dark")

    numbers = [int(text[1:]) for text in await console.page.locator(".event .seq").all_inner_texts()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_muting_and_removing_reach_the_room(people: People, server: ServerProcess) -> None:
    ada, bruno, console, session = await a_room(people, server)
    await console.page.goto(f"{server.address}/console#/session/{session}")

    await console.page.get_by_role("button", name=re.compile("Mute.*ada")).click()
    await expect(ada.page.get_by_text("A moderator has switched your microphone off.")).to_be_visible()
    await expect(ada.button("Microphone", exact=True)).to_have_attribute("aria-pressed", "false")
    await expect(bruno.tile("ada").get_by_text("microphone off")).to_be_attached()

    await console.page.get_by_role("button", name=re.compile("Remove.*ada")).click()
    dialog = console.page.get_by_role("dialog", name="Remove ada?")
    assert not await console.axe_in_both_schemes()
    await console.picture("console-remove")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(ada.tile("ada")).to_be_visible()
    await console.page.get_by_role("button", name=re.compile("Remove.*ada")).click()
    await dialog.get_by_label("Reason").fill("shouting")
    await dialog.get_by_role("button", name="Remove ada").click()

    await expect(ada.heading("You were removed")).to_be_visible()
    await expect(ada.page.get_by_text("shouting")).to_be_visible()
    await expect(bruno.tile("ada")).to_have_count(0)
    await expect(console.page.get_by_role("log")).to_contain_text("ada was removed: “shouting”.")


async def test_the_console_goes_on_after_a_cut_and_after_a_kill(people: People, server: ServerProcess) -> None:
    ada, _bruno, console, session = await a_room(people, server)
    await console.page.goto(f"{server.address}/console#/session/{session}")
    log = console.page.get_by_role("log")
    await expect(log).to_contain_text("bruno has joined.")

    await console.cut()
    await ada.button("Microphone", exact=True).click()
    await expect(log).to_contain_text("ada has switched the microphone off.")

    await server.kill()
    await expect(console.page.get_by_text("The connection is lost.")).to_be_visible()
    await server.start()
    await expect(console.page.get_by_text("The connection is lost.")).to_have_count(0, timeout=30_000)
    await expect(log).to_contain_text("ada is back.", timeout=30_000)
    numbers = [int(text[1:]) for text in await console.page.locator(".event .seq").all_inner_texts()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_ended_session_stands_in_the_history(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno", "chloe"])
    for name in ("ada", "bruno"):
        await (await people.come(name)).goes_in(server, session, camera=False)
    console = await people.moderate(server)
    await console.page.goto(f"{server.address}/console#/session/{session}")
    await console.button("End session…").click()
    assert not await console.axe_in_both_schemes()
    await console.page.get_by_role("dialog").get_by_role("button", name="End session").click()
    await expect(console.page.get_by_text("ended by a moderator").first).to_be_visible()
    attendance = console.page.get_by_role("region", name="Attendance")
    await expect(attendance).to_contain_text("Registered: 3. Took part: 2.")
    await expect(attendance.get_by_role("listitem")).to_have_text([*[re.compile("took part")] * 2, re.compile("chloe")])
    assert not await console.axe_in_both_schemes()
    await console.picture("console-ended")

    await console.page.get_by_role("link", name="History").first.click()
    line = console.page.get_by_role("listitem").filter(has_text="ended by a moderator")
    await expect(line).to_be_visible()
    assert not await console.axe_in_both_schemes()
    await console.picture("console-history")
    await line.get_by_role("link", name="Spanish C1").click()

    await expect(console.page.get_by_role("log")).to_contain_text("bruno was in it to the end.")
    await expect(attendance).to_contain_text("Registered: 3. Took part: 2.")
    assert not await console.axe_in_both_schemes()


async def test_a_wrong_token_is_explained(people: People, server: ServerProcess) -> None:
    ada = await people.come("ada")

    await ada.page.goto(f"{server.address}/console#token={server.token('ada', Role.PARTICIPANT)}")
    await expect(ada.page.get_by_text("Sign in with one that is.")).to_be_visible()

    await ada.page.get_by_label("Link or access token").fill("nonsense")
    await ada.button("Sign in").click()
    await expect(ada.page.get_by_text("neither a link to a room nor an access token")).to_be_visible()
    assert not await ada.axe_in_both_schemes()


async def test_nothing_live_and_a_phone(people: People, server: ServerProcess) -> None:
    console = await people.moderate(server, viewport=PHONE, has_touch=True, is_mobile=True)
    await expect(console.heading("Nothing is live")).to_be_visible()
    assert not await console.axe_in_both_schemes()

    session = await server.offer(["ada"], start_in=60)
    await expect(console.page.get_by_role("link", name="Spanish C1")).to_be_visible()
    await console.page.goto(f"{server.address}/console#/session/{session}")
    await expect(console.button("End session…")).to_be_visible()
    assert await console.too_wide() == []
    assert not await console.axe_in_both_schemes()
    await console.picture("console-phone")


async def test_it_speaks_french_and_spanish(people: People, server: ServerProcess) -> None:
    mona = await people.come("mona", locale="fr-FR")
    await mona.page.goto(f"{server.address}/console#token={server.token('mona', Role.MODERATOR)}")
    await expect(mona.heading("Salons en direct")).to_be_visible()
    await expect(mona.page.locator("html")).to_have_attribute("lang", "fr")

    await mona.page.get_by_label("Langue de la page").select_option("es")
    await expect(mona.heading("Salas en vivo")).to_be_visible()
    await expect(mona.page).to_have_title(re.compile("Consola"))
    await asyncio.gather(mona.page.reload(), mona.page.wait_for_load_state())
    await expect(mona.heading("Salas en vivo")).to_be_visible()
