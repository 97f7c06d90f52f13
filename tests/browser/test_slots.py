"""A newcomer at `scripts/run`: signing in under a name, finding a session, booking it, going in; what a page weighs."""

import functools
import re

from playwright.async_api import Request, expect

from tests.browser.person import PHONE, People, Person
from tests.processes.server import ServerProcess

FIRST_LOAD_BYTES = 150_000


async def signs_in(person: Person, server: ServerProcess) -> None:
    await person.page.goto(f"{server.address}/")
    await person.page.get_by_label("Your name").fill(person.name)
    await person.button("Sign in").click()
    await expect(person.heading("Conversations")).to_be_visible()


def _note(asked: list[str], request: Request) -> None:
    asked.append(request.url)


async def test_from_the_address_to_a_conversation(people: People, demo: ServerProcess) -> None:
    newcomers = [await people.come(name) for name in ("grace", "linus")]
    for person in newcomers:
        await person.page.goto(f"{demo.address}/")
        await expect(person.page.get_by_text("Anybody can sign in under any name.")).to_be_visible()
    assert not await newcomers[0].axe_in_both_schemes()
    await newcomers[0].picture("sign-in")

    for person in newcomers:
        await signs_in(person, demo)
        slot = person.page.get_by_role("listitem", name="French B1").first
        await slot.get_by_role("button", name="Book a seat").click()
        await expect(slot.get_by_text("Booked")).to_be_visible()
    assert not await newcomers[0].axe_in_both_schemes()
    await newcomers[0].picture("slots")

    for person in newcomers:
        await person.page.get_by_role("listitem", name="French B1").first.get_by_role("link", name="Go in").click()
        await person.button("Try camera and microphone").click()
        await expect(person.button("Camera", exact=True)).to_have_attribute("aria-pressed", "true")
        assert not await person.axe_in_both_schemes()
        await person.picture("lobby")
        await person.button("Join the room").click()
    await newcomers[0].sees_playing("linus")
    await newcomers[1].sees_playing("grace")


async def test_a_booking_can_be_cancelled_and_sessions_narrowed(people: People, demo: ServerProcess) -> None:
    ada = await people.come("ada-lovelace", viewport=PHONE, has_touch=True, is_mobile=True)
    await signs_in(ada, demo)
    await ada.page.get_by_label("Level").select_option("A2")
    await ada.page.get_by_label("Language", exact=True).select_option("en")
    slots = ada.page.get_by_role("listitem", name="English A2")
    await expect(slots).to_have_count(1)
    await slots.get_by_role("button", name="Book a seat").click()
    await expect(slots.get_by_text("7 seats left")).to_be_visible()

    await slots.get_by_role("button", name="Cancel booking").click()

    await expect(slots.get_by_text("8 seats left")).to_be_visible()
    await ada.page.get_by_label("Level").select_option("C2")
    await expect(ada.page.get_by_text("There is nothing on offer like this")).to_be_visible()
    await ada.button("Show all").click()
    assert await ada.too_wide() == []
    assert not await ada.axe_in_both_schemes()
    await ada.picture("slots-phone")


async def test_the_keyboard_alone_suffices(people: People, demo: ServerProcess) -> None:
    ada = await people.come("ada-k")
    await ada.page.goto(f"{demo.address}/")
    await ada.page.get_by_label("Your name").focus()
    await ada.page.keyboard.type("ada-k")
    await ada.page.keyboard.press("Enter")
    await expect(ada.heading("Conversations")).to_be_focused()

    await ada.tabs_to(ada.button("Book a seat").first)
    await ada.page.keyboard.press("Enter")

    # The button has gone with what it did, and the focus is where one goes on.
    go_in = ada.page.get_by_role("link", name="Go in")
    await expect(go_in).to_be_focused()
    await ada.page.keyboard.press("Enter")
    await expect(ada.page.get_by_role("heading", level=1)).to_be_focused()
    await ada.tabs_to(ada.button("Try camera and microphone"))
    await ada.page.keyboard.press("Enter")
    await expect(ada.button("Microphone", exact=True)).to_be_focused()
    await ada.tabs_to(ada.button("Join the room"))
    await ada.page.keyboard.press("Enter")
    await expect(ada.button("Leave")).to_be_visible()


async def test_clicking_beside_everything_leaves_the_focus_nowhere(people: People, demo: ServerProcess) -> None:
    ada = await people.come("ada-c")
    await signs_in(ada, demo)
    await ada.page.get_by_label("Level").select_option("C2")
    await ada.button("Show all").focus()
    await ada.page.mouse.click(1, 400)
    await ada.page.get_by_label("Level").select_option("")

    await expect(ada.button("Show all")).to_have_count(0)
    await expect(ada.page.locator(":focus")).to_have_count(0)


async def test_a_name_that_cannot_be_is_refused_in_words(people: People, demo: ServerProcess) -> None:
    nobody = await people.come("nobody")
    await nobody.page.goto(f"{demo.address}/")

    await nobody.button("Sign in").click()

    await expect(nobody.page.get_by_text("Enter a name.")).to_be_visible()
    assert not await nobody.axe_in_both_schemes()


async def test_moderators_sign_in_under_a_name_too(people: People, demo: ServerProcess) -> None:
    mona = await people.come("mona")
    await mona.page.goto(f"{demo.address}/console")
    await mona.page.get_by_label("Your name").fill("mona")
    await mona.button("Sign in").click()

    await expect(mona.heading("Live rooms")).to_be_visible()


async def test_without_a_demo_there_is_no_signing_in_by_name(people: People, server: ServerProcess) -> None:
    ada = await people.come("ada")
    await ada.page.goto(f"{server.address}/")
    await expect(ada.page.get_by_label("Link or access token")).to_be_visible()
    await expect(ada.page.get_by_label("Your name")).to_have_count(0)
    response = await ada.context.request.post(f"{server.address}/demo/sign-in", data={"userId": "ada"})
    assert response.status == 404
    assert not await ada.axe_in_both_schemes()


async def test_the_first_load_is_small_and_asks_nobody_else(people: People, server: ServerProcess) -> None:
    for path, heading in (("/", "Practise a language"), ("/console", "Moderators")):
        person = await people.come("ada")
        cdp = await person.context.new_cdp_session(person.page)
        await cdp.send("Network.enable")
        sizes: list[float] = []
        cdp.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        asked: list[str] = []
        person.page.on("request", functools.partial(_note, asked))

        await person.page.goto(f"{server.address}{path}")
        await expect(person.heading(heading)).to_be_visible()
        await person.page.wait_for_load_state("networkidle")

        assert all(url.startswith((server.address, "data:")) for url in asked), asked
        assert len(sizes) > 5
        assert sum(sizes) < FIRST_LOAD_BYTES, sum(sizes)
        assert re.search("gzip", (await person.context.request.get(f"{server.address}/")).headers["content-encoding"])
