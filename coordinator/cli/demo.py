"""`coordinator demo`: offer a slot that starts in one minute."""

from coordinator.app import make_tokens
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    ports_beside,
    run,
    settings_from,
    told_failures,
)
from coordinator.cli.seeding import DemoOffer, describe_demo, seed_demo
from coordinator.settings import Settings


def demo(mongo_url: MongoUrlOption = None, data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Offer a slot that starts in one minute, with registered demo users, and print their tokens."""
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        offer = run(_seed(settings))
        describe_demo(offer, f"http://{settings.server.host}:{settings.server.port}")


async def _seed(settings: Settings) -> DemoOffer:
    async with ports_beside(settings) as ports:
        return await seed_demo(ports, make_tokens(settings, ports.clock))
