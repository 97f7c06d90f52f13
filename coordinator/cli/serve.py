"""`coordinator serve`: run a coordinator."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from coordinator.adapters.system import SystemClock
from coordinator.app import make_tokens, signing_secret
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
from coordinator.cli.demo_mode import why_no_sign_in
from coordinator.cli.process import serve as serve_alone
from coordinator.cli.seeding import DEMO_TOKEN_SECONDS, describe_demo, keep_offering, offer_demo
from coordinator.cli.supervisor import WorkersFailedError
from coordinator.cli.workers import WORKER_OPTION, supervise, work
from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Role
from coordinator.domain.ids import UserId
from coordinator.settings import Settings
from coordinator.transports.web.demo import Issue


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis that joins several coordinators.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port; several need Redis.")] = None,
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Also offer a slot with registered demo users.")] = False,
    as_worker: Annotated[bool, typer.Option(WORKER_OPTION, hidden=True)] = False,
) -> None:
    """Run a coordinator until it is told to stop. Without --mongo-url it brings its own database."""
    with told_failures():
        if as_worker:
            work()
            return
        settings = settings_from(
            config,
            mongo_url,
            data_dir,
            server__host=host,
            server__port=port,
            server__workers=workers,
            redis__url=redis_url,
        )
        secret_was_set = settings.auth.secret is not None
        signing_secret(settings)
        if not secret_was_set:
            place = plain(str(Path(settings.mongo.data_dir).resolve()))
            out.print(
                f"No auth.secret is set: tokens are signed with a development secret kept in {place}.", soft_wrap=True
            )
        demos: set[asyncio.Task[None]] = set()
        several = settings.server.workers > 1
        closed = why_no_sign_in(settings)
        has_sign_in = demo and closed is None

        def ready(address: str) -> None:
            how = f"{settings.server.workers} workers, websocket only" if several else "Ctrl-C stops"
            out.print(
                f"Coordinator [bold]ready[/] at [bold]{plain(address)}/[/]  "
                f"(Socket.IO: /rooms, /moderation, /recording; {how})",
                soft_wrap=True,
            )
            if demo:
                if has_sign_in:
                    _describe_sign_in(plain(address))
                else:
                    out.print(f"Nobody can sign in by name, because {plain(closed or '')}.", soft_wrap=True)
                demos.add(asyncio.ensure_future(_offer_demo(settings, address)))

        try:
            if several:
                run(supervise(settings, ready))
            else:
                issue = _issue_for_demo(settings) if has_sign_in else None
                run(serve_alone(settings, lambda _, address: ready(address), demo_issue=issue))
        except WorkersFailedError as error:
            err.print(f"[bold red]workers[/] {plain(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from None


def _issue_for_demo(settings: Settings) -> Issue:
    tokens = make_tokens(settings, SystemClock())

    def issue(user_id: UserId, role: Role) -> str:
        return tokens.issue(user_id, role, ttl_seconds=DEMO_TOKEN_SECONDS)

    return issue


def _describe_sign_in(address: str) -> None:
    out.print(f"\n  Open [bold]{address}/[/] and sign in under any name, in two windows under two.", soft_wrap=True)
    out.print(f"  Moderators: [bold]{address}/console[/]   Only this machine can reach it.", soft_wrap=True)


async def _offer_demo(settings: Settings, address: str) -> None:
    tokens = make_tokens(settings, SystemClock())
    try:
        offer = await offer_demo(address, tokens)
    except (CoordinatorError, OSError) as error:
        # The coordinator itself is well, and goes on.
        err.print(f"[bold red]demo[/] could not be offered: {plain(str(error))}")
    else:
        describe_demo(offer, address)
        await keep_offering(address, tokens)
