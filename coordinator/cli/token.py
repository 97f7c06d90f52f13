"""`coordinator token`: sign a token."""

import re
from pathlib import Path
from typing import Annotated

import typer

from coordinator.adapters.jwt.development_secret import read_secret
from coordinator.adapters.system import SystemClock
from coordinator.app import make_tokens
from coordinator.cli.common import ConfigOption, DataDirOption, MongoUrlOption, settings_from, told_failures
from coordinator.domain.events import Role
from coordinator.domain.ids import USER_ID_MAX_LENGTH, UserId

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_TTL_SECONDS = 3650 * 86400


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 0 < seconds <= _MAX_TTL_SECONDS:
        raise typer.BadParameter("a time such as 90s, 30m, 1h or 7d (at most 3650d)")
    return seconds


def _role(text: str) -> Role:
    try:
        role = Role(text)
    except ValueError:
        role = Role.SYSTEM
    if role is Role.SYSTEM:
        raise typer.BadParameter("participant, moderator, recorder or admin")
    return role


def token(
    sub: Annotated[str, typer.Option("--sub", help="The user's id.")],
    role: Annotated[str, typer.Option("--role", help="participant, moderator, recorder or admin.")],
    ttl: Annotated[str, typer.Option("--ttl", help="How long it is valid: 90s, 30m, 1h, 7d.")] = "1h",
    config: ConfigOption = None,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a signed token for a user."""
    parsed_role, seconds = _role(role), _seconds(ttl)
    if not 0 < len(sub) <= USER_ID_MAX_LENGTH:
        raise typer.BadParameter(f"a user id has 1 to {USER_ID_MAX_LENGTH} characters", param_hint="--sub")
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        folder = Path(settings.mongo.data_dir)
        if settings.auth.secret is None and settings.mongo.url is None and read_secret(folder) is None:
            typer.echo(f"note: made a development secret in {folder.resolve()}", err=True)
        tokens = make_tokens(settings, SystemClock())
        typer.echo(tokens.issue(UserId(sub), parsed_role, ttl_seconds=seconds))
