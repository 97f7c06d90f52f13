"""`coordinator watch SESSION`: follow a session in the terminal."""

import asyncio
from typing import Annotated, Any

import aiohttp
import typer

from coordinator.adapters.system import SystemClock
from coordinator.app import make_tokens
from coordinator.cli.api_client import address_of, checked_address
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    err,
    out,
    run,
    settings_from,
    told_failures,
)
from coordinator.domain.events import Role, SessionEnded
from coordinator.domain.ids import UserId, is_object_id

_POLL_SECONDS = 0.5
_TOKEN_SECONDS = 3600
_PAGE = 500
_GIVE_UP_AFTER_POLLS = 120


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

        def sign() -> str:
            tokens = make_tokens(settings, SystemClock())
            return token or tokens.issue(UserId("watch"), Role.MODERATOR, ttl_seconds=_TOKEN_SECONDS)

        try:
            code = run(_follow(f"{address}/api/v1/sessions/{session}/events", sign(), after, follow))
        except KeyboardInterrupt:
            code = 0
    raise typer.Exit(code)


async def _follow(url: str, token: str, after: int, follow: bool) -> int:
    failures = 0
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        while True:
            try:
                async with http.get(url, params={"after": after, "limit": _PAGE}) as response:
                    body: dict[str, Any] = await response.json(content_type=None)
            except (aiohttp.ClientError, ValueError) as error:
                failures += 1
                if failures == 1:
                    err.print(f"[yellow]no answer[/] from {url}: {type(error).__name__} {error}; trying again")
                if not follow or failures > _GIVE_UP_AFTER_POLLS:
                    return 1
                await asyncio.sleep(_POLL_SECONDS)
                continue
            failures = 0
            if response.status != 200 and not body.get("retryable"):
                err.print(f"[bold red]{body.get('code', response.status)}[/] {body.get('detail', '')}")
                return 1
            for event in body.get("items", []):
                _show(event)
                after = event["seq"]
                if event["type"] == SessionEnded.kind:
                    follow = False  # print what is left, then stop
            if "next" not in body and not follow:
                return 0
            if "next" not in body:
                await asyncio.sleep(_POLL_SECONDS)


def _show(event: dict[str, Any]) -> None:
    data = " ".join(f"{key}={value}" for key, value in event["data"].items())
    actor = event["actor"]["userId"]
    line = f"[dim]{event['at'][11:23]}[/] {event['seq']:>5}  [bold]{event['type']:<26}[/] {data}  [dim]({actor})[/]"
    out.print(line, soft_wrap=True)
