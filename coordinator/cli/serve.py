"""`coordinator serve`: run a coordinator."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from coordinator import app as application
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    err,
    out,
    plain,
    run,
    settings_from,
    told_failures,
)
from coordinator.cli.seeding import describe_demo, offer_demo
from coordinator.domain.errors import CoordinatorError


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis that joins several coordinators.")] = None,
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also offer a slot with registered demo users.")] = False,
) -> None:
    """Run a coordinator until it is told to stop. Without --mongo-url it brings its own database."""
    with told_failures():
        settings = settings_from(
            config, mongo_url, data_dir, server__host=host, server__port=port, redis__url=redis_url
        )
        secret_was_set = settings.auth.secret is not None
        application.signing_secret(settings)
        if not secret_was_set:
            place = plain(str(Path(settings.mongo.data_dir).resolve()))
            out.print(
                f"No auth.secret is set: tokens are signed with a development secret kept in {place}.", soft_wrap=True
            )
        demos: set[asyncio.Task[None]] = set()

        def ready(coordinator: application.Coordinator, address: str) -> None:
            out.print(
                f"Coordinator [bold]ready[/] at [bold]{plain(address)}/[/]  "
                "(Socket.IO: /rooms, /moderation, /recording; Ctrl-C stops)",
                soft_wrap=True,
            )
            if demo:
                demos.add(asyncio.ensure_future(_offer_demo(coordinator, address)))

        run(application.serve(settings, ready))


async def _offer_demo(coordinator: application.Coordinator, address: str) -> None:
    tokens = application.make_tokens(coordinator.settings, coordinator.ports.clock)
    try:
        offer = await offer_demo(address, tokens)
    except (CoordinatorError, OSError) as error:
        # The coordinator itself is well, and goes on.
        err.print(f"[bold red]demo[/] could not be offered: {plain(str(error))}")
    else:
        describe_demo(offer, address)
