"""``snapshot``: take the catalog, or what changed, from the service, as any client would."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from outbox.errors import BadSetting
from process.console import Exit, notes, screen
from snapshot_server.client.client import Progress as Step
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.errors import SummaryMismatch, SyncUnavailable
from snapshot_server.client.patience import Patience
from snapshot_server.client.tally import Tally
from snapshot_server.commands.lines import opened
from snapshot_server.errors import CursorMalformed, SnapshotError

if TYPE_CHECKING:
    from rich.progress import Task

    from snapshot_server.client.access import Access
    from snapshot_server.client.tally import Totals
    from snapshot_server.commands.lines import Lines

# Somebody waits: a few seconds are enough to see that nobody answers.
_PATIENCE = Patience(attempts=7)


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    cursor: str | None
    limit: int
    out: str | None
    """A path, ``-`` for standard output, None for a count alone."""
    as_json: bool
    """The report."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came."""

    position: str
    chunks: int
    items: int
    removed: int
    interruptions: int
    totals: Totals | None
    """Of the whole catalog, as the service says they must be; of a part nobody can tell."""
    took_s: float

    @property
    def items_per_s(self) -> float:
        """Removals included."""
        return (self.items + self.removed) / max(self.took_s, 0.001)

    def as_json(self) -> dict[str, object]:
        """The digest as 16 hexadecimal digits: JSON's numbers do not reach so far."""
        series, episodes, digest = self.totals or (None, None, None)
        return {
            **{name: value for name, value in asdict(self).items() if name != "totals"},
            "series": series,
            "episodes": episodes,
            "digest": None if digest is None else f"{digest:016x}",
            "verified": self.totals is not None,
            "items_per_s": round(self.items_per_s),
        }


async def run(access: Access, wish: Wish) -> int:
    """Take it, write it, say how far it reaches; the exit code."""
    try:
        with opened(wish.out) as lines:
            report = await _taken(access, wish, lines)
    except SummaryMismatch as exc:
        return _failed(exc, Exit.DEGRADED)
    except SyncUnavailable as exc:
        return _failed(exc, Exit.UNREACHABLE)
    except (BadSetting, CursorMalformed) as exc:
        return _failed(exc, Exit.USAGE)
    except BrokenPipeError:
        # Whoever read standard output has had enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except (SnapshotError, OSError) as exc:
        return _failed(exc, Exit.FAILED)
    _print(report, wish)
    return Exit.FINE


async def _taken(access: Access, wish: Wish, lines: Lines) -> Report:
    # What came before a cursor is not known here, so only all of it can be verified.
    tally = Tally() if wish.cursor is None else None
    step, position, interruptions, began = Step(), "", 0, time.monotonic()
    with _Bar() as bar:

        def watch(now: Step) -> None:
            nonlocal step, interruptions
            step = now
            interruptions += now.error is not None
            bar.show(now)

        async with SnapshotClient(
            access.address, access.token, tls=access.tls, patience=_PATIENCE
        ) as client:
            async for chunk in client.sync(wish.cursor, limit=wish.limit, progress=watch):
                if tally:
                    tally.apply(chunk)
                lines.write(chunk)
                position = chunk.position or ""
    return Report(
        position=position,
        chunks=step.chunks,
        items=step.items,
        removed=step.removed,
        interruptions=interruptions,
        totals=tally.totals if tally else None,
        took_s=time.monotonic() - began,
    )


class _Bar(Progress):
    """How much there is nobody can tell before the end."""

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), _PerSecond())
        super().__init__(*columns, TimeElapsedColumn(), console=notes, transient=True)
        self._task = self.add_task("connecting", total=None)

    def show(self, step: Step) -> None:
        said = f"{step.items:,} items, {step.removed:,} removed"
        if step.error:
            said += f"; again in {step.pause_s:.1f} s: {escape(str(step.error))}"
        self.update(self._task, completed=step.items + step.removed, description=said)


class _PerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Of the last half minute, as rich reckons."""
        return Text(f"{task.speed or 0:,.0f} items/s")


def _failed(exc: Exception, code: Exit) -> Exit:
    notes.print(str(exc), style="red", highlight=False, markup=False)
    return code


def _print(report: Report, wish: Wish) -> None:
    # Where items go to standard output, nothing else does.
    to = notes if wish.out == "-" else screen
    if wish.as_json:
        print(json.dumps(report.as_json()), file=to.file)
        return
    if report.totals:
        series, episodes, digest = report.totals
        to.print(f"{series:,} series, {episodes:,} episodes, digest {digest:016x}: verified")
    interrupted = f", {report.interruptions} interruptions" if report.interruptions else ""
    to.print(
        f"{report.items:,} items, {report.removed:,} removed in {report.chunks:,} chunks,"
        f" {report.took_s:.1f} s, {report.items_per_s:,.0f} items/s{interrupted}",
        highlight=False,
    )
    to.print(f"position {report.position}", highlight=False)
