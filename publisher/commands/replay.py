"""``replay``: old events once more, for one consumer to read again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from outbox.errors import BadPosition
from outbox.position import Position
from process.console import Exit, notes, screen
from publisher.audit import span
from publisher.audit.replay import Replayed, Selection, is_live, replay, resumed, select, tidy
from publisher.commands.servers import opened
from publisher.store.stream import EventStream

if TYPE_CHECKING:
    from publisher.settings import Settings

_END = Position(2**64 - 1, 0)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed."""

    first: str
    last: str | None
    entity: str | None
    entity_id: str | None
    key: str | None
    rate: int
    go_on: bool
    dry_run: bool


async def run(settings: Settings, wish: Wish, *, as_json: bool) -> int:
    """Write them, or count them; the exit code."""
    now_ms = int(time.time() * 1000)
    try:
        first = span.parse(wish.first, now_ms=now_ms)
        last = span.parse(wish.last, now_ms=now_ms) if wish.last else _END
    except BadPosition as exc:
        notes.print(f"[red]{exc}", highlight=False)
        return Exit.USAGE
    key = wish.key or f"{settings.stream_key}:replay:{first}"
    if is_live(key, settings.stream_key):
        notes.print(f"[red]{key} is the live stream: name another with --key (make: KEY=)")
        return Exit.USAGE
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with opened(settings) as servers:
        side = EventStream(servers.redis, key)
        selection = await select(servers.ticks, Selection(first, last, wish.entity, wish.entity_id))
        selection = await resumed(servers.ticks, selection, side, go_on=wish.go_on)
        with Progress(*columns, TimeRemainingColumn(), console=notes, transient=True) as progress:
            task = progress.add_task("counting" if wish.dry_run else "replaying", total=None)
            done = await replay(
                servers.pool,
                servers.ticks,
                None if wish.dry_run else side,
                selection,
                rate=wish.rate,
                watch=lambda done: progress.update(task, completed=done.looked_at, total=done.of),
            )
        if not wish.dry_run:
            await tidy(servers.redis, key)
    if as_json:
        print(  # noqa: T201
            json.dumps(
                asdict(done)
                | {
                    "key": key,
                    "from": str(selection.first),
                    "to": str(selection.last),
                    "dry_run": wish.dry_run,
                }
            )
        )
    else:
        _print(done, key, wish)
    return Exit.FINE


def _print(done: Replayed, key: str, wish: Wish) -> None:
    left_out = f" ({done.dead_letters:,} dead letters left out)" if done.dead_letters else ""
    if wish.dry_run:
        took_s = done.events / wish.rate
        screen.print(
            f"{done.events:,} events, {done.size_bytes / 2**20:,.1f} MiB, would be written to"
            f" {key}{left_out}; at {wish.rate:,} a second in {took_s:,.0f} s",
            highlight=False,
        )
        return
    end = f", up to {done.last}" if done.last else ""
    screen.print(f"{done.events:,} events written to {key}{end}{left_out}", highlight=False)
    screen.print("Nobody trims it: delete it when it has been read.", style="dim")
