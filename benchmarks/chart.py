"""The chart in the README: bars as SVG, readable on light and dark pages."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.screen import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.row import Row

_TITLES = {
    ("drain", "events/s"): "Drain: events a second into the stream (more is better)",
    ("delay", "ms"): "Delay: COMMIT to consumer, in ms (less is better)",
    ("capture", "tx/s"): "Capture: transactions a second of the writers (more is better)",
    ("snapshot", "items/s"): "Snapshot: items a second of a full sync (more is better)",
    ("unary", "ms"): "GetVideoMetadata: ms of a call (less is better)",
}
_LABELS = {
    "ours": "catalog-outbound",
    "textbook": "textbook relay",
    "pipe_floor": "psql | redis-cli --pipe",
    "redis_benchmark": "redis-benchmark",
    "without": "no capture at all",
    "insert_by_hand": "outbox row by hand",
    "betterproto2": "encoded, betterproto2",
    "grpcio": "encoded, grpcio + google",
}
_DRAIN_SIZE = "1M "

_WIDTH = 820
_MARGIN = 20
_BARS_X = 210
_BARS_WIDTH = 500
_BAR = 14
_PITCH = 18
_TITLE = 34
_CASE = 24

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
    ' height="{height}" role="img" aria-label="Benchmark results">'
)
_PAGE = '<rect class="page" x="0.5" y="0.5" width="{width}" height="{height}" rx="6"/>'
_STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .page { fill: #ffffff; stroke: #d1d9e0 }
  .title { font-size: 14px; font-weight: 600 }
  .case { font-weight: 600 }
  .label { text-anchor: end; fill: #59636e }
  .ours { fill: #0969da }
  .peer { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .page { fill: #0d1117; stroke: #3d444d }
    .label { fill: #9198a1 }
    .ours { fill: #4493f8 }
    .peer { fill: #656c76 }
  }
"""


def svg(rows: Iterable[Row]) -> str:
    """A panel for each bench; each panel has its own linear scale, from zero."""
    parts: list[str] = []
    y = _MARGIN
    for (bench, unit), group in groupby(
        [row for row in rows if _is_shown(row)], key=lambda row: (row.bench, row.unit)
    ):
        drawn, y = _panel(_TITLES[bench, unit], list(group), y)
        parts += drawn
    height = y + _MARGIN
    return "\n".join(
        [
            _HEAD.format(width=_WIDTH, height=height),
            f"<style>{_STYLE}</style>",
            _PAGE.format(width=_WIDTH - 1, height=height - 1),
            *parts,
            "</svg>\n",
        ]
    )


def _is_shown(row: Row) -> bool:
    is_other_size = row.bench == "drain" and not row.case.startswith(_DRAIN_SIZE)
    return (row.bench, row.unit) in _TITLES and bool(row.peers) and not is_other_size


def _panel(title: str, rows: Sequence[Row], y: int) -> tuple[list[str], int]:
    """The panel from *y* down, and where it ends."""
    most = max(value for row in rows for value in (row.ours, *row.peers.values()))
    parts = [f'<text class="title" x="{_MARGIN}" y="{y + 14}">{escape(title)}</text>']
    y += _TITLE
    for row in rows:
        parts.append(f'<text class="case" x="{_MARGIN}" y="{y + 10}">{escape(row.case)}</text>')
        y += _CASE
        for name, value in {"ours": row.ours, **row.peers}.items():
            width = max(round(value / most * _BARS_WIDTH, 1), 1)
            kind = "ours" if name == "ours" else "peer"
            label = escape(_LABELS.get(name, name))
            middle = y + _BAR - 3
            parts += [
                f'<text class="label" x="{_BARS_X - 8}" y="{middle}">{label}</text>',
                f'<rect class="{kind}" x="{_BARS_X}" y="{y}" width="{width}" height="{_BAR}"/>',
                f'<text x="{_BARS_X + width + 6}" y="{middle}">{amount(value)}</text>',
            ]
            y += _PITCH
        y += _PITCH // 2
    return parts, y + _PITCH // 2
