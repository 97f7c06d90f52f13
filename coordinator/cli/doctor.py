"""`coordinator doctor`: look at everything that is needed, and say what to do about what is not right."""

import socket
from pathlib import Path
from typing import NamedTuple

import typer

from coordinator.adapters.mongo.client import connect
from coordinator.adapters.mongo.embedded import running_url
from coordinator.adapters.mongo.schema import inspect
from coordinator.app import database_url, signing_secret
from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    out,
    plain,
    run,
    settings_from,
    told_failures,
)
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.settings import Settings, SettingsError


class Finding(NamedTuple):
    """One thing that was looked at; `remedy` is empty where it is right."""

    subject: str
    finding: str
    remedy: str = ""


def doctor(mongo_url: MongoUrlOption = None, data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Check settings, database, indexes and port; exits with 1 if something needs doing."""
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        findings = [Finding("settings", "read without error"), _secret(settings), _port(settings)]
        findings += run(_database(settings))
    for item in findings:
        mark = "[yellow]do[/]" if item.remedy else "[green]ok[/]"
        out.print(f"{mark}  {item.subject}: {plain(item.finding)}", soft_wrap=True)
        if item.remedy:
            out.print(f"      {plain(item.remedy)}", soft_wrap=True)
    if any(item.remedy for item in findings):
        raise typer.Exit(1)


def _secret(settings: Settings) -> Finding:
    try:
        signing_secret(settings)
    except SettingsError as error:
        return Finding("secret", "none is set", str(error))
    if settings.auth.secret is None:
        return Finding("secret", "a development secret from the data directory; set auth.secret for anything else")
    return Finding("secret", "set")


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    running = not settings.mongo.url and running_url(Path(settings.mongo.data_dir)) is not None
    try:
        with socket.create_server((host, port)):
            return Finding("port", f"{host}:{port} is free")
    except OSError as error:
        if running:
            return Finding("port", f"{host}:{port} is taken; a coordinator runs on this data directory")
        return Finding("port", f"{host}:{port}: {error.strerror}", "stop what listens there, or choose another --port")


async def _database(settings: Settings) -> list[Finding]:
    beside = None if settings.mongo.url else running_url(Path(settings.mongo.data_dir))
    if beside is not None:
        return await _inspect(settings, beside)
    async with database_url(settings) as url:
        return await _inspect(settings, url)


async def _inspect(settings: Settings, url: str) -> list[Finding]:
    database = connect(url, settings.mongo.database)
    try:
        await database.ping()
        problems = await inspect(database)
    except OutcomeUnknownError as error:
        return [Finding("database", str(error), "start it, or correct --mongo-url")]
    finally:
        await database.close()
    findings = [Finding("database", "answers")]
    remedy = "`coordinator serve` makes what is missing when it starts; what conflicts must be dropped by hand"
    findings += [Finding("collections", problem, remedy) for problem in problems]
    if not problems:
        findings.append(Finding("collections", "validators and indexes are as they should be"))
    return findings
