"""`coordinator consumers`: who reads the feed and how far each has come; forget one that will not come back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

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
from coordinator.domain.cursors import CatchUpCursor, read_cursor
from coordinator.domain.ids import NodeId, node_of
from coordinator.domain.ledger import wire_time
from coordinator.ports.consumers import Consumer
from coordinator.settings import Settings


def consumers(
    forget: Annotated[str | None, typer.Option(help="Forget this one: should it come back, it begins anew.")] = None,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """List the consumers of the feed and how far each is behind, or forget one.

    The cursor of a consumer that is connected and has everything moves every ten seconds: a lag of less is none.
    """
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        if forget is None:
            for line in run(_list(settings)):
                out.print(line, soft_wrap=True)
            return
        was_known = run(_forget(settings, forget))
    if not was_known:
        err.print(f"there is no consumer {plain(forget)}", soft_wrap=True)
        raise typer.Exit(1)
    out.print(f"{plain(forget)} is forgotten", soft_wrap=True)


async def _list(settings: Settings) -> list[str]:
    async with ports_beside(settings) as ports:
        now = ports.clock.now()
        known = await ports.consumers.all()
        alive_since = now - timedelta(seconds=settings.session.node_timeout_seconds)
        heartbeats = await ports.liveness.heartbeats()
        return _lines(known, {node: at >= alive_since for node, at in heartbeats.items()}, now)


async def _forget(settings: Settings, name: str) -> bool:
    async with ports_beside(settings) as ports:
        return await ports.consumers.forget(name)


def _lines(known: Sequence[Consumer], alive: Mapping[NodeId, bool], now: datetime) -> list[str]:
    if not known:
        return ["nobody has read the feed yet"]
    width = max(len(consumer.name) for consumer in known)
    return [_line(consumer, width, alive.get(node_of(consumer.owner), False), now) for consumer in known]


def _line(consumer: Consumer, width: int, owner_is_alive: bool, now: datetime) -> str:
    lag = max((now - consumer.up_to).total_seconds(), 0.0)
    state = "catching up, " if isinstance(read_cursor(consumer.cursor), CatchUpCursor) else ""
    owner = plain(consumer.owner) + ("" if owner_is_alive else ", whose coordinator is gone")
    return (
        f"{plain(consumer.name.ljust(width))}  lag {lag:.1f} s  {state}has acked everything up to "
        f"{wire_time(consumer.up_to)}  read last by {owner}"
    )
