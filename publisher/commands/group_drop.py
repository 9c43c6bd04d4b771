"""``group-drop``: a consumer group is declared dead, so that nothing is kept for it any more."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from process import console
from process.console import Exit
from publisher.commands.overview import counted, duration
from publisher.commands.servers import opened
from publisher.store.stream import translated
from publisher.survey.survey import survey

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from publisher.settings import Settings
    from publisher.survey.group_status import GroupStatus
    from publisher.survey.status import Status

_ALIVE_S = 60.0


async def run(settings: Settings, name: str, *, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Destroy the group *name* of every stream, after showing what it would lose."""
    async with opened(settings) as servers:
        now = await survey(settings, servers.pool, servers.redis)
        for said in now.away.values():
            console.notes.print(said, style="red", highlight=False, markup=False)
        if "redis" in now.away:
            return Exit.UNREACHABLE
        found = _found(now, name)
        if not found:
            known = sorted({group.name for stream in now.streams for group in stream.groups})
            console.notes.print(
                f"There is no group {name}. Groups: {', '.join(known) or 'none'}.",
                highlight=False,
                markup=False,
            )
            return Exit.FAILED
        if not as_json:
            console.screen.print(_table(found))
        _warn_of_the_living(found)
        question = f"Drop the group {escape(name)}? What it has not finished is lost to it."
        if not dry_run and not console.confirmed(question, yes=yes):
            return Exit.FAILED
        dropped = [] if dry_run else await _drop(servers.redis, name, list(found))
    if as_json:
        streams = {key: asdict(group) for key, group in found.items()}
        print(json.dumps({"group": name, "streams": streams, "dropped": dropped}))  # noqa: T201
    else:
        what = "Nothing was dropped." if dry_run else f"Dropped in {', '.join(dropped) or 'none'}."
        console.notes.print(what, highlight=False, markup=False)
    return Exit.FINE


def _found(now: Status, name: str) -> dict[str, GroupStatus]:
    """The group as it is in each stream that has it."""
    return {
        stream.key: group for stream in now.streams for group in stream.groups if group.name == name
    }


async def _drop(redis: Redis, name: str, keys: list[str]) -> list[str]:
    """Destroy it in one stream after another; those where it was still there."""
    commands: Any = redis  # see EventStream
    dropped = []
    for key in keys:
        with translated():
            if await commands.xgroup_destroy(key, name):
                dropped.append(key)
    return dropped


def _table(found: dict[str, GroupStatus]) -> Table:
    table = Table("stream", "behind", "pending", "missed", "last delivered", "seen", box=None)
    for key, group in found.items():
        seen = duration(group.last_seen_s) + " ago" if group.last_seen_s is not None else "never"
        table.add_row(
            Text(key),
            counted(group.behind, exact=group.behind_exact),
            f"{group.pending:,}",
            counted(group.fell_off, exact=group.fell_off_exact),
            group.last_delivered,
            seen,
        )
    return table


def _warn_of_the_living(found: dict[str, GroupStatus]) -> None:
    seen = [group.last_seen_s for group in found.values() if group.last_seen_s is not None]
    if seen and min(seen) < _ALIVE_S:
        console.notes.print(
            f"A consumer of it was seen {duration(min(seen))} ago: it will be told NOGROUP.",
            style="yellow",
            highlight=False,
        )
