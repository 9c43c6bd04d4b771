"""``backfill``: fresh events for existing rows."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from process.console import Exit, notes, screen
from publisher.backfill import backfill, begin, count, find, unfinished
from publisher.commands.servers import opened
from publisher.errors import BackfillRefused
from publisher.survey.survey import survey

if TYPE_CHECKING:
    from publisher.backfill import Run, Target
    from publisher.commands.servers import Servers
    from publisher.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed."""

    entity: str
    condition: str
    chunk: int
    max_backlog: int
    again: bool
    dry_run: bool


async def run(settings: Settings, wish: Wish, *, as_json: bool) -> int:
    """Emit them, or count the rows; the exit code."""
    try:
        async with opened(settings) as servers:
            target = await find(servers.pool, wish.entity, wish.condition.strip())
            begun = None if wish.again else await unfinished(servers.pool, target)
            rows = await count(servers.pool, target, begun.last_key if begun else None)
            if begun:
                notes.print(
                    f"Going on with one of {begun.started_at:%F %T %Z}, {begun.rows:,} rows done;"
                    " --again (make: AGAIN=1) begins anew.",
                    highlight=False,
                )
            done = None if wish.dry_run else await _emit(settings, servers, target, wish, rows)
    except BackfillRefused as exc:
        notes.print(escape(str(exc)), style="red", highlight=False)
        return Exit.USAGE
    _print(target, rows, done, as_json=as_json)
    return Exit.FINE


async def _emit(settings: Settings, servers: Servers, target: Target, wish: Wish, rows: int) -> Run:
    run = await begin(servers.pool, target, again=wish.again)
    total = run.rows + rows

    async def has_room() -> bool:
        now = await survey(settings, servers.pool, servers.redis)
        return (now.backlog or 0) < wish.max_backlog

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    ) as progress:
        task = progress.add_task(target.entity, total=total)
        last = run

        def watch(now: Run, waiting: str | None) -> None:
            nonlocal last
            last = now
            text = f"{target.entity} ({waiting})" if waiting else target.entity
            progress.update(task, description=text, completed=now.rows, total=max(total, now.rows))

        try:
            return await backfill(
                servers.pool,
                target,
                run,
                chunk=wish.chunk,
                has_room=has_room,
                pause=asyncio.sleep,
                watch=watch,
            )
        except BaseException:
            notes.print(f"Stopped after {last.rows:,} rows; the same command goes on from there.")
            raise


def _print(target: Target, rows: int, done: Run | None, *, as_json: bool) -> None:
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "entity": target.entity,
                    "where": target.condition or None,
                    "dry_run": done is None,
                    "rows": done.rows if done else rows,
                    "events": done.events if done else 0,
                }
            )
        )
    elif done is None:
        screen.print(f"{rows:,} rows of {target.source} would each be an event", highlight=False)
    else:
        screen.print(
            f"{done.events:,} events of {done.rows:,} rows of {target.source}", highlight=False
        )
