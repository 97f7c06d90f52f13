"""`coordinator demo`: offer a slot that starts in one minute, to a coordinator that is running."""

from typing import Annotated

import typer

from coordinator.adapters.system import SystemClock
from coordinator.app import make_tokens
from coordinator.cli.api_client import address_of, checked_address
from coordinator.cli.common import ConfigOption, DataDirOption, MongoUrlOption, run, settings_from, told_failures
from coordinator.cli.seeding import describe_demo, offer_demo


def demo(
    url: Annotated[
        str | None, typer.Option("--url", help="Address of the coordinator; by default that of the settings.")
    ] = None,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Offer a slot that starts in one minute, with registered demo users, and print their tokens."""
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        address = address_of(settings) if url is None else checked_address(url)
        tokens = make_tokens(settings, SystemClock())
        describe_demo(run(offer_demo(address, tokens)), address)
