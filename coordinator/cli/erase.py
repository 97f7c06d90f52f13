"""`coordinator erase`: take a user out of everything that is stored, and leave every proof as it is."""

import sys
from typing import Annotated

import typer

from coordinator.app import Ports
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    err,
    out,
    plain,
    ports_beside,
    run,
    settings_from,
    told_failures,
)
from coordinator.domain.ids import USER_ID_MAX_LENGTH, UserId
from coordinator.services.background import BackgroundTasks
from coordinator.services.booking import Booking
from coordinator.services.erasure import Erased, Erasure
from coordinator.services.projector import Projector
from coordinator.services.reader import Reader
from coordinator.services.rooms import Rooms
from coordinator.settings import Settings
from coordinator.transports.socketio.fanout import Fanout

_WARNING = """\
This replaces the user {user} by pseudonyms in every session, registration and document, for good: nobody can find out
again who it was. Coming registrations are cancelled, and the addresses of the user's recordings are forgotten: delete
the recordings themselves first. Copies elsewhere (backups, the recording service, logs) stay as they are."""

_LATE_SECONDS = 1.0
"""How long to wait for documents that a running coordinator was about to write: they follow events within 100 ms."""


def erase(
    user: Annotated[str, typer.Option("--user", help="Whom to erase: the `sub` claim of the user's tokens.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Erase a user from everything that is stored. May be repeated, and goes on where it was cut short."""
    if not 1 <= len(user) <= USER_ID_MAX_LENGTH:
        raise typer.BadParameter(f"--user: a user's id has 1 to {USER_ID_MAX_LENGTH} characters")
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        if not yes:
            _confirm(user)
        erased = run(_erase(settings, UserId(user)))
    _tell(user, erased)
    if erased.left:
        raise typer.Exit(1)


def _confirm(user: str) -> None:
    if not sys.stdin.isatty():
        err.print("This cannot be undone, and there is no terminal to ask: add --yes if you mean it.")
        raise typer.Exit(2)
    out.print(_WARNING.format(user=plain(user)), soft_wrap=True)
    typer.confirm("Erase this user?", abort=True)


async def _erase(settings: Settings, user_id: UserId) -> Erased:
    background = BackgroundTasks()
    async with ports_beside(settings) as ports:
        try:
            erasure = _erasure(ports, background)
            erased = await erasure.erase(user_id)
            if erased.sessions:
                await ports.clock.sleep(_LATE_SECONDS)
                erased = await erasure.look_again(user_id, erased)
            return erased
        finally:
            await background.stop()


def _erasure(ports: Ports, background: BackgroundTasks) -> Erasure:
    # These rooms are only read: nobody writes for them, and nobody listens.
    projector = Projector(ports.projections, ports.clock)
    rooms = Rooms(ports.journal, ports.clock, ports.ids, projector, Fanout(), background, max_pending=0)
    reader = Reader(rooms, ports.journal, ports.projections, ports.bookings, lambda: True)
    booking = Booking(ports.catalog, ports.bookings, reader, ports.clock, ports.ids)
    return Erasure(ports.journal, ports.projections, ports.bookings, booking, ports.clock, ports.ids)


def _tell(user: str, erased: Erased) -> None:
    if erased.is_nothing:
        out.print(f"nothing that is stored names {plain(user)}", soft_wrap=True)
        return
    out.print(
        f"{plain(user)}: {erased.sessions} sessions, {erased.commits} commits written anew, "
        f"{erased.registrations} registrations, {erased.cancelled} of them cancelled",
        soft_wrap=True,
    )
    for left in erased.left:
        err.print(f"[bold red]not erased[/] from session {left.session_id}: {plain(left.reason)}", soft_wrap=True)
