"""One line of the results, and the file that keeps them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_MORE_IS_BETTER = ("events/s", "tx/s", "items/s", "requests/s", "MB/s")


@dataclass(frozen=True)
class Row:
    """What ours and its peers came to in one case, each a median."""

    bench: str
    case: str
    unit: str
    ours: float
    peers: Mapping[str, float]

    @property
    def more_is_better(self) -> bool:
        """Whether the unit is a rate, and not a time or a size."""
        return self.unit in _MORE_IS_BETTER


def quantile(values: Iterable[float], share: float) -> float:
    """The value that *share* of the values do not exceed; of an empty list there is none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)]


def read(path: Path) -> list[Row]:
    """The rows of earlier runs; none if there was no run."""
    return [Row(**row) for row in json.loads(path.read_text("utf-8"))] if path.exists() else []


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write *rows* as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")


def merged(earlier: Sequence[Row], new: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """The *new* rows, and the *earlier* ones of benches that were not run; in *order*."""
    run = {row.bench for row in new}
    rows = [row for row in earlier if row.bench not in run] + list(new)
    return sorted(rows, key=lambda row: order.index(row.bench))
