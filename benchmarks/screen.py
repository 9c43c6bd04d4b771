"""What a run shows: what it is doing on stderr, the results on stdout."""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.row import Row

_WHOLE_FROM = 100
_OUTPUT_WIDTH = 120


class Screen:
    """Use it as a context: the progress display is there as long as that."""

    def __init__(self) -> None:
        self._out = Console(highlight=False)
        if not self._out.is_terminal:
            self._out = Console(highlight=False, width=_OUTPUT_WIDTH)
        self._err = Console(highlight=False, stderr=True, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        """Show the progress."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._progress.stop()

    def doing(self, what: str) -> None:
        """Say what goes on now."""
        self._progress.update(self._task, description=escape(what))

    def did(self, what: str, result: str) -> None:
        """Say what it came to."""
        load = os.getloadavg()[0]
        self._err.print(f"[dim]{escape(what)}[/dim]  {escape(result)}  [dim]load {load:.1f}[/dim]")

    def warn(self, text: str) -> None:
        """Say what makes the numbers less than they seem."""
        self._err.print(f"[bold yellow]{escape(text)}[/bold yellow]")

    def fail(self, text: str) -> None:
        """Say why it ends."""
        self._err.print(f"[red]{escape(text)}[/red]")

    def results(self, rows: Sequence[Row]) -> None:
        """Print a table for each bench; beside a peer stands ours divided by it."""
        for bench, group in groupby(rows, key=lambda row: row.bench):
            of_bench = list(group)
            peers = list(dict.fromkeys(peer for row in of_bench for peer in row.peers))
            table = Table(title=bench, title_justify="left", title_style="bold")
            table.add_column("case")
            for column in ("ours", *peers):
                table.add_column(column, justify="right")
            table.add_column("unit")
            for row in of_bench:
                cells = [
                    f"{amount(row.peers[peer])}  ({_ratio(row.ours, row.peers[peer])})"
                    if peer in row.peers
                    else ""
                    for peer in peers
                ]
                table.add_row(row.case, f"[bold]{amount(row.ours)}[/bold]", *cells, row.unit)
            self._out.print(table)


def amount(value: float) -> str:
    """With as many digits as mean something."""
    return f"{value:,.0f}" if value >= _WHOLE_FROM or value == int(value) else f"{value:,.2f}"


def _ratio(ours: float, peer: float) -> str:
    return f"{ours / peer:.2f}x" if peer else "-"
