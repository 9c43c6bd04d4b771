"""``python -m benchmarks``: measure, print, and write the numbers and the chart."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks import (
    capture,
    chart,
    consumer,
    delay,
    drain,
    invalidate,
    projector,
    row,
    searchable,
    snapshot,
    unary,
    viewer,
)
from benchmarks.errors import BenchmarkFailed
from benchmarks.screen import Screen
from benchmarks.servers import ROOT, running
from embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BENCHES = {
    "drain": drain.run,
    "delay": delay.run,
    "capture": capture.run,
    "snapshot": snapshot.run,
    "projector": projector.run,
    "unary": unary.run,
    "consumer": consumer.run,
    "search": searchable.run,
    "invalidate": invalidate.run,
    "viewer": viewer.run,
}
_RESULTS = ROOT / "benchmarks" / "out" / "bench.json"
_CHART = ROOT / "docs" / "bench.svg"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    only: Annotated[
        str, typer.Option(help=f"Some of them, with commas: {','.join(_BENCHES)}.")
    ] = ",".join(_BENCHES),
    quick: Annotated[bool, typer.Option(help="Under a minute each, and rougher.")] = False,  # noqa: FBT002
) -> None:
    """Measure against servers of its own, with default durability. An idle machine is best."""
    names = only.split(",")
    if unknown := sorted({*names} - {*_BENCHES}):
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(_BENCHES)}", param_hint="--only"
        )
    # As Ctrl-C: the servers are stopped and their folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    try:
        with screen:
            rows = asyncio.run(_measure(screen, names, quick=quick))
    except (EmbeddedError, BenchmarkFailed) as failure:
        screen.fail(f"{type(failure).__doc__}\n{failure}")
        raise typer.Exit(1) from None
    everything = row.merged(row.read(_RESULTS), rows, list(_BENCHES))
    row.write(_RESULTS, everything)
    _CHART.write_text(chart.svg(everything), "utf-8")
    screen.results(rows)


async def _measure(screen: Screen, names: Sequence[str], *, quick: bool) -> list[row.Row]:
    rows: list[row.Row] = []
    with running() as servers:
        for name in names:
            rows += await _BENCHES[name](servers, screen, quick=quick)
    return rows


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
