"""What the commands share: options, settings, the way to the database, and how a failure is told."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.markup import escape

from coordinator.adapters.mongo.embedded import EmbeddedServerError, running_url
from coordinator.adapters.mongo.process_record import storage_of
from coordinator.adapters.mongo.schema import SchemaError
from coordinator.app import Ports, database_url, mongo_ports
from coordinator.domain.errors import CoordinatorError
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.settings import Settings, SettingsError, default_files, load_settings
from coordinator.telemetry import configure_logging

T = TypeVar("T")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.", dir_okay=False)]
MongoUrlOption = Annotated[
    str | None, typer.Option("--mongo-url", help="Use this MongoDB instead of the embedded one.")
]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Where the embedded database keeps its data.")]

out = Console(highlight=False, emoji=False)
"""Standard output: what was asked for."""
err = Console(stderr=True, highlight=False, emoji=False)
"""Standard error: what went wrong, and what to do."""


def settings_from(config: Path | None, mongo_url: str | None, data_dir: Path | None, **flags: Any) -> Settings:
    """Read settings, with the options that commands share and further flags as `section__field`; None is not given.

    From then on what is logged goes where they say, so that nothing of it gets among what was asked for.

    Raises:
        SettingsError: A setting is unknown or wrong.
    """
    files = default_files()
    if config is not None:
        if not config.is_file():
            raise SettingsError([f"--config: there is no file {config}"])
        files.append(config)
    dotted = {name.replace("__", ".", 1): value for name, value in flags.items()}
    shared = {"mongo.url": mongo_url, "mongo.data_dir": None if data_dir is None else str(data_dir)}
    settings = load_settings(files=files, environ=os.environ, flags={**shared, **dotted})
    configure_logging(settings.log.level, settings.log.format)
    return settings


@contextmanager
def told_failures() -> Iterator[None]:
    """Tell expected failures in a sentence each, without a traceback, and exit."""
    try:
        yield
    except SettingsError as error:
        for problem in error.problems:
            err.print(f"[bold red]setting[/] {plain(problem)}")
        raise typer.Exit(2) from None
    except (EmbeddedServerError, SchemaError) as error:
        err.print(f"[bold red]database[/] {plain(str(error))}")
        raise typer.Exit(1) from None
    except OutcomeUnknownError as error:
        err.print(f"[bold red]database[/] does not answer: {plain(str(error))}")
        err.print(
            "Is it running, and is --mongo-url (COORDINATOR_MONGO__URL) right? `coordinator doctor` looks closer."
        )
        raise typer.Exit(1) from None
    except CoordinatorError as error:
        err.print(f"[bold red]{error.code}[/] {plain(error.message)}")
        raise typer.Exit(1) from None
    except OSError as error:
        err.print(f"[bold red]failed[/] {plain(str(error))}")
        raise typer.Exit(1) from None


def printable(text: str) -> str:
    """Return a text that others wrote so that it does not steer the terminal; its lines stay lines."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def plain(text: str) -> str:
    """Return a text that others wrote as it can stand between markup."""
    return escape(printable(text))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def ports_beside(settings: Settings) -> AsyncIterator[Ports]:
    """Give the ports for a command that works beside a coordinator: its embedded database if one runs, else our own.

    Raises:
        EmbeddedServerError: There is no database in the data directory. An empty one would be made, and whatever the
            command looks for would not be there, which reads like an answer.
    """
    if settings.mongo.url is None and not storage_of(Path(settings.mongo.data_dir)).is_dir():
        raise EmbeddedServerError(
            f"there is none in {settings.mongo.data_dir}: give another --data-dir, or --mongo-url"
        )
    beside = None if settings.mongo.url else running_url(Path(settings.mongo.data_dir))
    if beside is not None:
        async with mongo_ports(settings, beside) as ports:
            yield ports
        return
    async with database_url(settings) as url, mongo_ports(settings, url) as ports:
        yield ports
