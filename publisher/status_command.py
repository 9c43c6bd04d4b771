"""``status`` on the screen, and as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable
from outbox.ticks import Ticks
from publisher import connections, status
from publisher.stream import EventStream

if TYPE_CHECKING:
    from publisher.settings import Settings
    from publisher.status import Status

FINE, FAILED, DEGRADED, UNREACHABLE = 0, 1, 3, 4
"""Exit codes."""


async def show(settings: Settings, *, as_json: bool) -> int:
    """Print the status; the exit code."""
    try:
        async with (
            connections.postgres_pool(settings) as pool,
            connections.redis_client(settings) as redis,
        ):
            stream = EventStream(redis, settings.stream_key)
            now = await status.gather(pool, Ticks(pool), stream)
    except (OutboxUnavailable, StreamUnavailable, StreamRefused) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return UNREACHABLE
    except CatalogStreamError as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return FAILED
    if as_json:
        print(json.dumps(asdict(now) | {"problems": now.problems}))  # noqa: T201
    else:
        _print(now, settings.stream_key)
    return DEGRADED if now.problems else FINE


def _print(now: Status, stream_key: str) -> None:
    console = Console()
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
    console.print(way)
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
        console.print(groups)
    for holder in now.xmin_held_by:
        age_s = f" for {holder.age_s:.0f} s" if holder.age_s is not None else ""
        console.print(f"xmin held by {holder.kind} {holder.name} {holder.detail}{age_s}")
    for problem in now.problems:
        console.print(f"[red]degraded:[/red] {problem}")
