"""The room page with real pictures: two, then four people, what each sees of the others, and what goes wrong."""

import asyncio

from playwright.async_api import expect

from coordinator.domain.events import Role
from tests.browser.person import PHONE, People, Person
from tests.processes.server import ServerProcess

NAMES = ["ada", "bruno", "chloe", "diego"]


async def together(people: People, server: ServerProcess, names: list[str]) -> list[Person]:
    """Have people go into one running session, with camera and microphone."""
    session = await server.offer(names)
    everyone = [await people.come(name) for name in names]
    for person in everyone:
        await person.goes_in(server, session)
    return everyone


async def test_two_people_see_each_other_and_what_each_switches(people: People, server: ServerProcess) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])

    await ada.sees_playing("bruno")
    await bruno.sees_playing("ada")
    await expect(ada.page.get_by_text("left", exact=False).first).to_be_visible()

    await ada.button("Camera", exact=True).click()
    await expect(bruno.tile("ada").get_by_text("camera off")).to_be_attached()
    await expect(bruno.tile("ada").locator("video.is-hidden")).to_have_count(1)
    await ada.button("Camera", exact=True).click()
    await bruno.sees_playing("ada")

    await ada.button("Microphone", exact=True).click()
    await expect(bruno.tile("ada").get_by_text("microphone off")).to_be_attached()

    await bruno.button("Leave").click()
    await expect(bruno.heading("You have left")).to_be_visible()
    await expect(ada.tile("bruno")).to_have_count(0)


async def test_four_people_all_see_each_other(people: People, server: ServerProcess) -> None:
    everyone = await together(people, server, NAMES)

    for person in everyone:
        for name in NAMES:
            if name != person.name:
                await person.sees_playing(name)
    assert not await everyone[0].axe_in_both_schemes()
    await everyone[0].picture("room-light")
    await everyone[1].page.emulate_media(color_scheme="dark")
    await everyone[1].picture("room-dark")
    await everyone[1].button("People").click()
    await expect(everyone[1].page.get_by_role("complementary", name="People")).to_contain_text("camera on")
    await everyone[1].picture("room-people")
    assert not await everyone[1].axe()


async def test_consent_is_asked_for_shown_and_revoked_by_one_click(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    ada, bruno = [await people.come(name) for name in ("ada", "bruno")]
    for person in (ada, bruno):
        await person.goes_in(server, session, camera=False)
    console = await people.moderate(server)
    await console.page.goto(f"{server.address}/console#/session/{session}")
    await console.button("Switch recording on").click()

    await expect(ada.page.get_by_text("You are not recorded, because you have not allowed it.")).to_be_visible()
    await ada.button("Decide…").click()
    dialog = ada.page.get_by_role("dialog", name="May you be recorded?")
    await expect(dialog).to_contain_text("Your own camera picture and your own microphone")
    assert not await ada.axe_in_both_schemes()
    await ada.picture("consent")
    await dialog.get_by_role("button", name="Allow recording").click()

    await expect(ada.page.get_by_text("You may be recorded now.")).to_be_visible()
    await expect(bruno.page.get_by_text("ada may be recorded now.")).to_be_visible()
    assert not await ada.axe_in_both_schemes()
    await ada.picture("recorded")

    await ada.button("Stop recording me").click()
    await expect(ada.page.get_by_text("You may be recorded now.")).to_have_count(0)
    await expect(bruno.page.get_by_text("ada may be recorded now.")).to_have_count(0)


async def test_a_cut_connection_is_told_and_resumed_while_the_pictures_go_on(
    people: People, server: ServerProcess
) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])
    await ada.sees_playing("bruno")

    await ada.cut()
    await expect(bruno.tile("ada").get_by_text("connection lost")).to_be_visible()
    await bruno.button("Microphone", exact=True).click()

    await expect(ada.tile("bruno").get_by_text("microphone off")).to_be_attached()
    await expect(bruno.tile("ada").get_by_text("connection lost")).to_have_count(0)
    await ada.sees_playing("bruno")
    await bruno.sees_playing("ada")


async def test_a_killed_server_comes_back_under_a_room_that_carries_on(people: People, server: ServerProcess) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])
    await ada.sees_playing("bruno")

    await server.kill()
    await expect(ada.page.get_by_text("Your seat is held")).to_be_visible()
    await ada.sees_playing("bruno")  # from browser to browser, without the server
    await server.start()

    for person in (ada, bruno):
        await expect(person.page.get_by_text("Your seat is held")).to_have_count(0, timeout=30_000)
    await ada.button("Microphone", exact=True).click()
    await expect(bruno.tile("ada").get_by_text("microphone off")).to_be_attached()
    await bruno.sees_playing("ada")


async def test_a_page_loaded_again_goes_on_in_the_room(people: People, server: ServerProcess) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])
    await ada.sees_playing("bruno")

    await ada.page.reload()

    await expect(ada.button("Leave")).to_be_visible()
    await ada.sees_playing("bruno")
    await bruno.sees_playing("ada")


async def test_a_second_window_takes_the_place_of_the_first(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada"])
    first, second = await people.come("ada"), await people.come("ada")
    await first.goes_in(server, session)

    await second.goes_in(server, session)

    await expect(first.heading("You are here in another window")).to_be_visible()
    assert not await first.axe_in_both_schemes()


async def test_a_phone_has_everything_within_its_width(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    bruno = await people.come("bruno")
    await bruno.goes_in(server, session)
    ada = await people.come("ada", viewport=PHONE, has_touch=True, is_mobile=True)
    await ada.page.goto(f"{server.address}/#session={session}&token={server.token('ada')}")
    await expect(ada.button("Join the room")).to_be_visible()
    assert not await ada.axe_in_both_schemes()
    await ada.picture("lobby-phone")
    await ada.button("Join the room").click()

    await ada.sees_playing("bruno")
    for name in ("Microphone", "Camera", "Recording", "People", "Devices", "Leave"):
        await expect(ada.button(name).first).to_be_in_viewport(ratio=0.9)
    assert not await ada.axe_in_both_schemes()
    await ada.picture("room-phone")
    for language in ("en", "fr", "es"):
        await ada.page.locator(".language-switch select").select_option(language)
        await expect(ada.page.locator("html")).to_have_attribute("lang", language)
        assert await ada.too_wide() == [], language


async def test_a_refused_camera_is_explained_and_keeps_nobody_out(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada"])
    ada = await people.come("ada", permissions=())
    await ada.page.goto(f"{server.address}/#session={session}&token={server.token('ada')}")

    await ada.button("Try camera and microphone").click()

    await expect(ada.page.get_by_text("The browser may not use your camera.")).to_be_visible()
    await expect(ada.page.get_by_text("The browser may not use your microphone.")).to_be_visible()
    assert not await ada.axe_in_both_schemes()
    await ada.button("Join the room").click()
    await expect(ada.tile("ada").get_by_text("camera off")).to_be_attached()


async def test_who_may_not_come_in_is_told_why(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada"])
    eve = await people.come("eve")

    await eve.page.goto(f"{server.address}/#session={session}&token={server.token('eve')}")
    await eve.button("Join the room").click()

    await expect(eve.heading("You have no seat here")).to_be_visible()
    await expect(eve.page.get_by_text("Book one first")).to_be_visible()


async def test_the_end_by_a_moderator_is_the_end_for_everyone(people: People, server: ServerProcess) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])
    console = await people.moderate(server)
    await console.page.get_by_role("link", name="Spanish C1").click()

    await console.button("End session…").click()
    await console.page.get_by_role("dialog").get_by_role("button", name="End session").click()

    for person in (ada, bruno):
        await expect(person.heading("The conversation is over")).to_be_visible()
        await expect(person.page.get_by_text("A moderator has ended it.")).to_be_visible()
    assert not await ada.axe_in_both_schemes()
    await ada.picture("ended")


async def test_only_a_participants_token_opens_the_room(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada"])
    mona = await people.come("mona")

    await mona.page.goto(f"{server.address}/#session={session}&token={server.token('mona', Role.MODERATOR)}")
    await mona.button("Join the room").click()

    await expect(mona.page.get_by_text("Your sign-in does not allow this.")).to_be_visible()


async def test_everybody_may_come_at_once(people: People, server: ServerProcess) -> None:
    session = await server.offer(NAMES)
    everyone = [await people.come(name) for name in NAMES]

    await asyncio.gather(*(person.goes_in(server, session) for person in everyone))

    for person in everyone:
        for name in NAMES:
            if name != person.name:
                await person.sees_playing(name)
