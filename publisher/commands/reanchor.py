"""``reanchor``: this database is the one to be published from now on, whatever it was before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

from outbox.batch import Share
from outbox.clock import ServerClock
from outbox.epochs import Epochs
from outbox.ticks import Ticks
from process import console
from process.console import Exit
from publisher import identity
from publisher.commands.pause import who
from publisher.commands.servers import opened
from publisher.place import Places

if TYPE_CHECKING:
    from outbox.epochs import Identity
    from publisher.commands.servers import Servers
    from publisher.identity import Situation
    from publisher.settings import Settings

_SECONDS_IN_AN_HOUR = 3600


async def run(settings: Settings, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Open a new epoch, after showing what it abandons."""
    async with opened(settings) as servers:
        places, epochs = _places(settings, servers), Epochs(servers.pool)
        now = await identity.look(epochs, servers.ticks, places)
        if now.is_settled or now.is_new:
            if as_json:
                print(json.dumps(_report(now, entries=0, opened=False, renumbered=0)))  # noqa: T201
            console.notes.print("Nothing to do: this is the database that is published.")
            return Exit.FINE
        lost = now.lost
        entries = sum([await one.stream.count(lost.after, lost.until) for one in places])
        if not as_json:
            console.screen.print(_table(now, entries))
        question = "Publish this database from now on, and abandon that stretch?"
        if not dry_run and not console.confirmed(question, yes=yes):
            return Exit.FAILED
        renumbered = None
        if not dry_run:
            renumbered = await identity.reanchor(epochs, now, places[0].horizon, by=who())
    is_open = renumbered is not None
    if as_json:
        print(json.dumps(_report(now, entries, opened=is_open, renumbered=renumbered or 0)))  # noqa: T201
    if dry_run:
        console.notes.print("Nothing was changed.")
    elif not is_open:
        console.notes.print("Somebody else has begun an epoch meanwhile: look again.")
        return Exit.FAILED
    else:
        anew = f" {renumbered:,} events get new IDs." if renumbered else ""
        console.notes.print(
            f"Epoch {now.epoch.number + 1} has begun.{anew} Publishers go on by themselves;"
            " consumers that read the abandoned stretch need a snapshot.",
            highlight=False,
        )
    return Exit.FINE


def _places(settings: Settings, servers: Servers) -> list[Places]:
    return [
        Places(
            servers.pool,
            Ticks(servers.pool, Share(number, settings.partitions)),
            stream,
            Epochs(servers.pool),
            ServerClock(servers.pool),
            retention_s=settings.retention_hours * _SECONDS_IN_AN_HOUR,
            observe=lambda _: None,
        )
        for number, stream in enumerate(servers.streams)
    ]


def _table(now: Situation, entries: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_row("published", _told(now.epoch.identity) if now.epoch.number else "nothing yet")
    table.add_row("this database", _told(now.identity))
    table.add_row("in common", f"everything up to {now.lost.after}")
    table.add_row("abandoned", f"what follows, up to {now.lost.until}: {entries:,} entries")
    if now.is_another_cluster:
        table.add_row("new IDs", "for what was not published yet: this is another cluster")
    return table


def _told(identity: Identity) -> str:
    return f"cluster {identity.system_identifier}, timeline {identity.timeline}"


def _report(now: Situation, entries: int, *, opened: bool, renumbered: int) -> dict[str, Any]:
    return {
        "was": now.epoch.identity._asdict() if now.epoch.number else None,
        "is": now.identity._asdict(),
        "common": str(now.lost.after),
        "abandoned": {
            "after": str(now.lost.after),
            "until": str(now.lost.until),
            "entries": entries,
        },
        "anotherCluster": now.is_another_cluster,
        "opened": opened,
        "renumbered": renumbered,
    }
