"""``status`` on the screen, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from publisher import status
from publisher.commands.console import Exit, opened, screen

if TYPE_CHECKING:
    from publisher.settings import Settings
    from publisher.status import Status


async def show(settings: Settings, *, as_json: bool) -> int:
    """Print the status; the exit code."""
    async with opened(settings) as servers:
        now = await status.gather(servers.pool, servers.ticks, servers.streams[0])
    if as_json:
        print(json.dumps(asdict(now) | {"problems": now.problems}))  # noqa: T201
    else:
        _print(now, settings.stream_key)
    return Exit.DEGRADED if now.problems else Exit.FINE


def _print(now: Status, stream_key: str) -> None:
    way = Table.grid(padding=(0, 2))
    way.add_column(style="bold")
    age = now.oldest_unpublished_s
    waiting = f", the oldest for {age:.1f} s" if age is not None else ""
    way.add_row("backlog", f"{now.backlog:,} events{waiting}")
    way.add_row("last tick", now.last_tick or "none yet")
    way.add_row("published", f"{now.published_total:,} events in all")
    way.add_row("checkpoint", now.checkpoint or "none yet")
    ends = f", {now.stream_first} to {now.stream_last}" if now.stream_first else ""
    way.add_row(f"stream {stream_key}", f"{now.stream_length:,} entries{ends}")
    screen.print(way)
    if now.groups:
        groups = Table("group", "behind", "pending", "last delivered", "fell off", box=None)
        for group in now.groups:
            fell_off = f"[red]{group.fell_off:,} lost[/red]" if group.fell_off else "no"
            groups.add_row(
                group.name,
                f"{group.behind:,}",
                f"{group.pending:,}",
                group.last_delivered,
                fell_off,
            )
        screen.print(groups)
    for holder in now.xmin_held_by:
        age_s = f" for {holder.age_s:.0f} s" if holder.age_s is not None else ""
        screen.print(f"xmin held by {holder.kind} {holder.name} {holder.detail}{age_s}")
    for problem in now.problems:
        screen.print(f"[red]degraded:[/red] {problem}")
