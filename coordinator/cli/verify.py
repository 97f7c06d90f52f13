"""`coordinator verify`: prove the hash chains, compare the projections, repair them on request."""

from typing import Annotated

import typer

from coordinator.cli.common import (
    ConfigOption,
    DataDirOption,
    MongoUrlOption,
    out,
    plain,
    ports_beside,
    run,
    settings_from,
    told_failures,
)
from coordinator.domain.ids import SessionId, is_object_id
from coordinator.services.verifier import Verdict, Verifier
from coordinator.settings import Settings


def verify(
    session: Annotated[str | None, typer.Argument(help="One session; all of them without.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild projections that differ from the journal.")] = False,
    mongo_url: MongoUrlOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Prove that every session's journal is unaltered and that the documents say what it says.

    A journal is never repaired. Nor are documents of a session whose journal is not what it was, or ends before what a
    document has seen: they may be the only trace of what is gone. Whoever knows better deletes them by hand first.
    """
    if session is not None and not is_object_id(session):
        raise typer.BadParameter("a session id has 24 hexadecimal digits")
    with told_failures():
        settings = settings_from(config, mongo_url, data_dir)
        verdicts = run(_verify(settings, SessionId(session) if session else None, repair=repair))
    bad = [verdict for verdict in verdicts if verdict.flaws and not verdict.repaired]
    commits, events = sum(item.commits for item in verdicts), sum(item.events for item in verdicts)
    out.print(f"{len(verdicts)} sessions, {commits} commits, {events} events: {len(bad)} not as they should be")
    if bad:
        raise typer.Exit(1)


async def _verify(settings: Settings, session: SessionId | None, *, repair: bool) -> list[Verdict]:
    verdicts = []
    async with ports_beside(settings) as ports:
        verifier = Verifier(ports.journal, ports.projections, ports.clock)
        if session is not None:
            verdicts.append(await verifier.verify(session, repair=repair))
            _tell(verdicts[-1])
            return verdicts
        async for verdict in verifier.verify_all(repair=repair):
            _tell(verdict)
            verdicts.append(verdict)
    return verdicts


def _tell(verdict: Verdict) -> None:
    for flaw in verdict.flaws:
        mark = "[green]repaired[/]" if verdict.repaired else "[bold red]flaw[/]"
        out.print(f"{mark} session {plain(flaw.session_id)} seq {flaw.seq}: {plain(flaw.problem)}", soft_wrap=True)
