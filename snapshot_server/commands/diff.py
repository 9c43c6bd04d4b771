"""``diff``: the feed against the tables, on the screen and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from process.console import Exit, notes, screen
from snapshot_server import connections
from snapshot_server.feed.audit import audit

if TYPE_CHECKING:
    from snapshot_server.feed.audit import Verdict
    from snapshot_server.feed.comparison import Difference
    from snapshot_server.settings import CommandSettings

_SHOWN = 20
_KINDS = {1: "series", 2: "episode"}


async def run(settings: CommandSettings, *, within_s: float, as_json: bool) -> int:
    """Compare and report; the exit code."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with connections.audit_pool(settings.database_url) as pool:
        with Progress(*columns, TimeRemainingColumn(), console=notes, transient=True) as bar:
            task = bar.add_task("comparing", total=None)
            verdict = await audit(
                pool,
                within_s=within_s,
                watch=lambda done, of: bar.update(task, completed=done, total=max(done, of)),
            )
    if as_json:
        print(json.dumps(_as_json(verdict)))  # noqa: T201
    else:
        _print(verdict)
    return Exit.FINE if verdict.is_clean else Exit.FAILED


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "clean": verdict.is_clean,
        "position": str(verdict.position),
        "items": verdict.items,
        "equal": verdict.equal,
        "outdated": verdict.outdated,
        "unsettled": verdict.unsettled,
        "differences": dict(verdict.differences),
        "first": [_named(found) for found in verdict.first],
        "took_s": round(verdict.took_s, 3),
    }


def _named(found: Difference) -> dict[str, str | None]:
    kind, id_ = (_KINDS[found.key.kind], str(found.key.id)) if found.key else (None, None)
    return {"what": found.what, "kind": kind, "id": id_, "detail": found.detail}


def _print(verdict: Verdict) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{verdict.items:,}", f"items at {verdict.position}")
    table.add_row(f"{verdict.equal:,}", "equal, byte by byte")
    for count, what in (
        (verdict.outdated, "outdated: to be encoded anew by the projector"),
        (verdict.unsettled, "unsettled: touched again and again meanwhile"),
    ):
        if count:
            table.add_row(f"{count:,}", what)
    for what, count in verdict.differences.items():
        table.add_row(f"[red]{count:,}", f"[red]{what}")
    screen.print(table)
    for found in map(_named, verdict.first[:_SHOWN]):
        where = " ".join(filter(None, (found["kind"], found["id"], found["detail"])))
        screen.print(f"[red]{found['what']}[/red] {escape(where)}", highlight=False)
    if len(verdict.first) > _SHOWN:
        screen.print("… and more: --json (make: JSON=1) has the first hundred")
    clean = "[green]clean[/green]" if verdict.is_clean else "[red]it differs[/red]"
    per_s = verdict.items / max(verdict.took_s, 0.001)
    screen.print(f"{clean}, {verdict.took_s:.1f} s, {per_s:,.0f} items/s")
