"""What may happen to somebody in a room: a device is unplugged, the browser plays no sound, time runs out."""

import pytest
from playwright.async_api import expect

from tests.browser.person import People
from tests.browser.test_room import together
from tests.processes.server import ServerProcess

# As a browser tells it: the track ends by itself, after which nothing more comes from it.
_UNPLUG = """(kind) => {
  const senders = window.connections.flatMap(({ connection }) => connection.getSenders());
  const { track } = senders.find((sender) => sender.track?.kind === kind);
  track.stop();
  track.dispatchEvent(new Event("ended"));
}"""
_IS_HEARD = """(video) => !video.muted && !video.paused"""
# Said by the page itself: whatever Playwright asks of it counts as if somebody had clicked.
_WITHHELD = "sound is withheld"
_TELL = f"""
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {{
    const playing = play.call(this);
    playing.catch(({{ name }}) => name === "NotAllowedError" && console.info("{_WITHHELD}"));
    return playing;
  }};
"""


@pytest.mark.parametrize(
    ("kind", "button", "words", "shown"),
    [
        ("video", "Camera", "Your camera is gone.", "camera off"),
        ("audio", "Microphone", "Your microphone is gone.", "microphone off"),
    ],
)
async def test_what_is_unplugged_is_off_for_everybody(
    people: People, server: ServerProcess, kind: str, button: str, words: str, shown: str
) -> None:
    ada, bruno = await together(people, server, ["ada", "bruno"])
    await bruno.sees_playing("ada")

    await ada.page.evaluate(_UNPLUG, kind)

    await expect(ada.page.get_by_text(words)).to_be_visible()
    await expect(ada.button(button, exact=True)).to_have_attribute("aria-pressed", "false")
    await expect(bruno.tile("ada").get_by_text(shown)).to_be_attached()
    # Another one, or the same in its socket again.
    await ada.button(button, exact=True).click()
    await expect(bruno.tile("ada").get_by_text(shown)).to_have_count(0)
    await bruno.sees_playing("ada")


async def test_sound_that_the_browser_withholds_is_one_click_away(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    ada, bruno = [await people.come(name) for name in ("ada", "bruno")]
    await bruno.goes_in(server, session)
    await ada.goes_in(server, session, camera=False, mic=False)
    await ada.sees_playing("bruno")

    await ada.context.add_init_script(_TELL)
    async with ada.context.expect_console_message(lambda message: message.text == _WITHHELD):
        await ada.restores_the_tab()

    await ada.button("Turn sound on").click()
    await expect(ada.button("Turn sound on")).to_have_count(0)
    assert await ada.tile("bruno").locator("video").evaluate(_IS_HEARD)
    await ada.sees_playing("bruno")


async def test_the_last_minutes_are_announced(people: People, server: ServerProcess) -> None:
    session = await server.offer(["ada"])
    ada = await people.come("ada")
    await ada.goes_in(server, session, camera=False, mic=False)
    for seconds, words in ((300, "5 minutes are left."), (60, "1 minute is left.")):
        ada.hears("session_ending", {"sessionId": session, "secondsLeft": seconds})
        await expect(ada.page.get_by_text(words)).to_be_visible()
