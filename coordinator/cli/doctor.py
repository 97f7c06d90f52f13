"""`coordinator doctor`: look at everything that is needed, and say what to do about what is not right."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.embedded import running_url
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.schema import inspect
from coordinator.adapters.mongo.server import Server, ask_server
from coordinator.adapters.mongo.sharding import commands, inspect_sharding
from coordinator.adapters.redis.bus import RedisBus
from coordinator.adapters.system import SystemClock
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
from coordinator.domain.ids import NodeId
from coordinator.ports.bus import BusOutOfReachError
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.settings import Settings, SettingsError

_TOLERABLE_SECONDS = 1.0
"""By how much the clocks of machines may differ before anybody sees it."""


class Finding(NamedTuple):
    """One thing that was looked at; `remedy` is empty where it is right."""

    subject: str
    finding: str
    remedy: str = ""


def doctor(
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis that joins several coordinators.")] = None,
    config: ConfigOption = None,
    sharding: Annotated[
        bool, typer.Option("--sharding", help="Also show how to spread the database over shards.")
    ] = False,
) -> None:
    """Check settings, port, bus, database, clock, nodes and sharding; exits with 1 if something needs doing."""
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir, redis__url=redis_url)
        findings = [_settings(settings), _secret(settings), _port(settings)]
        findings += run(_outside(settings))
    for item in findings:
        mark = "[yellow]do[/]" if item.remedy else "[green]ok[/]"
        out.print(f"{mark}  {item.subject}: {plain(item.finding)}", soft_wrap=True)
        if item.remedy:
            out.print(f"      {plain(item.remedy)}", soft_wrap=True)
    if sharding:
        out.print("In mongosh, on a router of a sharded cluster:")
        for line in commands(settings.mongo.database):
            out.print(f"  {plain(line)}", soft_wrap=True)
    if any(item.remedy for item in findings):
        raise typer.Exit(1)


def _settings(settings: Settings) -> Finding:
    defaults = Settings().redacted()
    changed = [
        f"{section}.{name} = {value}"
        for section, values in settings.redacted().items()
        for name, value in values.items()
        if value != defaults[section][name]
    ]
    return Finding("settings", f"read without error; not as by default: {', '.join(changed) or 'none'}")


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


async def _outside(settings: Settings) -> list[Finding]:
    return [await _bus(settings), *await _database(settings)]


async def _bus(settings: Settings) -> Finding:
    if settings.redis.url is None:
        return Finding("bus", "redis.url is not set; a coordinator that is alone needs none")
    try:
        await RedisBus(settings.redis.url, NodeId("doctor")).ping()
    except (BusOutOfReachError, ValueError) as error:  # the latter: a URL that makes no sense to the library
        return Finding("bus", str(error), "start Redis, or correct redis.url (--redis-url)")
    return Finding("bus", "Redis answers")


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
        server = await ask_server(database, SystemClock().now)
        return [
            Finding("database", "answers; it is a router of a sharded cluster" if server.is_router else "answers"),
            _clock(server),
            *await _collections(database),
            *await _sharding(database, server),
            await _nodes(settings, database, server),
        ]
    except OutcomeUnknownError as error:
        return [Finding("database", str(error), "start it, or correct --mongo-url")]
    finally:
        await database.close()


def _clock(server: Server) -> Finding:
    difference = abs(server.lag_seconds)
    if difference - server.doubt_seconds <= _TOLERABLE_SECONDS:
        return Finding("clock", "agrees with the database's")
    direction = "behind" if server.lag_seconds > 0 else "ahead of"
    return Finding(
        "clock",
        f"{difference:.1f} s {direction} the database's",
        "let every machine keep its time by NTP (`timedatectl set-ntp true`): deadlines, tokens and the order of "
        "events go by these clocks",
    )


async def _collections(database: Database) -> list[Finding]:
    remedy = "`coordinator serve` makes what is missing when it starts; what conflicts must be dropped by hand"
    problems = [Finding("collections", problem, remedy) for problem in await inspect(database)]
    return problems or [Finding("collections", "validators and indexes are as they should be")]


async def _sharding(database: Database, server: Server) -> list[Finding]:
    remarks = await inspect_sharding(database, is_router=server.is_router)
    return [Finding("sharding", remark.text, remark.remedy) for remark in remarks]


async def _nodes(settings: Settings, database: Database, server: Server) -> Finding:
    # By the database's clock: if it is this machine's that is wrong, nobody must seem dead for it.
    silent_since = server.time - timedelta(seconds=settings.session.node_timeout_seconds)
    heartbeats = await MongoLiveness(database).heartbeats()
    alive = sum(at > silent_since for at in heartbeats.values())
    found = f"{alive} alive on this database"
    if silent := len(heartbeats) - alive:
        found += f", {silent} silent: whichever runs or starts next lets go of their participants"
    if alive > 1 and settings.redis.url is None:
        return Finding(
            "nodes",
            f"{found}, and redis.url is not set here",
            "give all of them the same redis.url: without it, what happens on one is seen on the others about "
            "half a second later, and signals between participants on different ones are refused",
        )
    return Finding("nodes", found)
