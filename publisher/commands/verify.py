"""``verify``: the audit on the screen, and as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from outbox.errors import BadPosition
from outbox.position import ORIGIN
from process.console import Exit, notes, screen
from process.redis import connection as redis_connection
from publisher.audit import span
from publisher.audit.pages import Pages
from publisher.audit.verify import Step, verify
from publisher.commands.servers import opened

if TYPE_CHECKING:
    from publisher.audit.verify import Verdict
    from publisher.settings import Settings

_SHOWN = 20


async def run(settings: Settings, *, since: str | None, as_json: bool) -> int:
    """Compare and report; the exit code."""
    try:
        begin = span.parse(since, now_ms=int(time.time() * 1000)) if since else ORIGIN
    except BadPosition as exc:
        notes.print(f"[red]{exc}", highlight=False)
        return Exit.USAGE
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with opened(settings) as servers, redis_connection.client(settings.redis_url) as redis:
        pages = [Pages(redis, key) for key in settings.stream_keys]
        with Progress(*columns, TimeRemainingColumn(), console=notes, transient=True) as progress:
            tasks = {step: progress.add_task(step, total=None) for step in Step}
            verdict = await verify(
                servers.pool,
                servers.ticks,
                pages,
                since=begin,
                watch=lambda step, done, total: progress.update(
                    tasks[step], completed=done, total=total
                ),
            )
    if as_json:
        report = asdict(verdict) | {"first": [found._asdict() for found in verdict.first]}
        print(json.dumps(report | {"clean": verdict.clean}))  # noqa: T201
    else:
        _print(verdict)
    return Exit.FINE if verdict.clean else Exit.FAILED


def _print(verdict: Verdict) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{verdict.events:,}", _extent(verdict))
    table.add_row(f"{verdict.equal:,}", "equal in their stream, field by field")
    for count, what in (
        (verdict.waiting, "not published yet"),
        (verdict.trimmed, "trimmed: older than what the stream holds"),
        (verdict.dead_letters, "set aside as dead letters, beside these"),
    ):
        if count:
            table.add_row(f"{count:,}", what)
    for kind, count in verdict.differences.items():
        if count:
            table.add_row(f"[red]{count:,}", f"[red]{kind.replace('_', ' ')}")
    screen.print(table)
    for found in verdict.first[:_SHOWN]:
        where = " ".join(filter(None, (found.id, found.stream, found.detail)))
        screen.print(f"[red]{found.kind.replace('_', ' ')}[/red] {escape(where)}", highlight=False)
    if len(verdict.first) > _SHOWN:
        screen.print("… and more: --json (make: JSON=1) has the first hundred")
    clean = "[green]clean[/green]" if verdict.clean else "[red]it differs[/red]"
    per_s = verdict.events / max(verdict.took_s, 0.001)
    screen.print(f"{clean}, {verdict.took_s:.1f} s, {per_s:,.0f} events/s")


def _extent(verdict: Verdict) -> str:
    if verdict.since is None:
        return "events: the outbox has none"
    return f"events from {verdict.since} to {verdict.until}"
