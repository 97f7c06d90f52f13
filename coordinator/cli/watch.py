"""`coordinator watch SESSION`: follow a session in the terminal."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import aiohttp
import msgspec
import typer
from rich.text import Text

from coordinator.adapters.system import SystemClock
from coordinator.app import make_tokens
from coordinator.cli.api_client import ApiClient, address_of, checked_address
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    err,
    out,
    plain,
    printable,
    run,
    settings_from,
    told_failures,
)
from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Role, SessionEnded
from coordinator.domain.ids import UserId, is_object_id

_POLL_SECONDS = 0.5
_TOKEN_SECONDS = 3600
_EVENTS_AT_ONCE = 500
_GIVE_UP_AFTER_POLLS = 120


class _Actor(msgspec.Struct, rename="camel"):
    user_id: str


class _Event(msgspec.Struct):
    seq: int
    at: datetime
    type: str
    actor: _Actor
    data: dict[str, Any]


class _Page(msgspec.Struct):
    items: list[_Event]
    next: int | None = None


def watch(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    url: Annotated[str | None, typer.Option("--url", help="Address of a coordinator.")] = None,
    token: Annotated[str | None, typer.Option("--token", help="A token; without it one is signed here.")] = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Begin after this event.")] = 0,
    follow: Annotated[bool, typer.Option(help="Go on until the session ends.")] = True,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a session's events, those so far and those to come, one line each."""
    if not is_object_id(session):
        raise typer.BadParameter("a session id has 24 hexadecimal digits", param_hint="SESSION")
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        address = address_of(settings) if url is None else checked_address(url)

        if token is None:
            tokens = make_tokens(settings, SystemClock())
            token = tokens.issue(UserId("watch"), Role.MODERATOR, ttl_seconds=_TOKEN_SECONDS)
        with suppress(KeyboardInterrupt):
            run(_follow(address, session, token, after, follow))


async def _follow(address: str, session: str, token: str, after: int, follow: bool) -> None:
    async with aiohttp.ClientSession() as http:
        api, failures = ApiClient(http, address), 0
        while True:
            try:
                page = await api.get(
                    f"/sessions/{session}/events", token, _Page, after=str(after), limit=str(_EVENTS_AT_ONCE)
                )
            except (CoordinatorError, OSError) as error:
                failures += 1
                may_pass = isinstance(error, OSError) or error.retryable
                if not follow or not may_pass or failures > _GIVE_UP_AFTER_POLLS:
                    raise
                if failures == 1:
                    err.print(f"[yellow]no answer[/] {plain(str(error))}; trying again", soft_wrap=True)
                await asyncio.sleep(_POLL_SECONDS)
                continue
            failures = 0
            for event in page.items:
                _show(event)
                after = event.seq
                if event.type == SessionEnded.kind:
                    follow = False  # print what is left, then stop
            if page.next is None and not follow:
                return
            if page.next is None:
                await asyncio.sleep(_POLL_SECONDS)


def _show(event: _Event) -> None:
    at = event.at.strftime("%H:%M:%S.%f")[:-3]
    data = " ".join(f"{key}={value}" for key, value in event.data.items())
    line = Text.assemble((at, "dim"), f" {event.seq:>5}  ", (f"{event.type:<26}", "bold"), f" {_on_one_line(data)}  ")
    out.print(line.append(f"({_on_one_line(event.actor.user_id)})", "dim"), soft_wrap=True)


def _on_one_line(text: str) -> str:
    """Return what clients chose, such as the id of a user, so that it stays on its line."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")
