"""The pages that describe the interfaces, in a browser."""

from playwright.async_api import expect

from tests.browser.person import People
from tests.processes.server import ServerProcess


async def test_messages_can_be_read(people: People, server: ServerProcess) -> None:
    reader = await people.come("reader")
    await reader.page.goto(f"{server.address}/docs/messages")

    await expect(reader.heading("/moderation")).to_be_visible()
    await reader.page.get_by_text("set_media", exact=True).click()

    await expect(reader.page.get_by_role("region", name="What set_media carries")).to_contain_text("cameraEnabled")
    assert not await reader.axe_in_both_schemes()
