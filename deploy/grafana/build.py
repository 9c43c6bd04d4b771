"""Makes what Grafana reads out of dashboards/*.toml: `python -m deploy.grafana.build`.

A panel has a title and either queries, each with the name of its lines, or the histogram whose
median and slowest hundredth it shows; then its unit, what it is about, and where it turns red.
"""

from __future__ import annotations

import json
import sys
import tomllib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).parent / "dashboards"
_COLUMNS, _HEIGHT = 24, 7
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_QUANTILES = {"median": 0.5, "99 %": 0.99}


def written() -> dict[Path, str]:
    """The text of each dashboard, and where it belongs."""
    return {
        source.with_suffix(".json"): _text(tomllib.loads(source.read_text("utf-8")))
        for source in sorted(FOLDER.glob("*.toml"))
    }


def _text(said: Mapping[str, Any]) -> str:
    variables = [_variable(name, query) for name, query in said.get("variables", {}).items()]
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    dashboard = {
        "uid": said["uid"],
        "title": said["title"],
        "tags": ["catalog"],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "links": [{"type": "dashboards", "tags": ["catalog"], "title": "Catalog"}],
        "panels": list(_panels(said["rows"])),
    }
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def _panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ids, y = count(1), 0
    for row in rows:
        at = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        yield {"id": next(ids), "type": "row", "title": row["title"], "gridPos": at, "panels": []}
        width = _COLUMNS // len(row["panels"])
        for n, panel in enumerate(row["panels"]):
            at = {"h": _HEIGHT, "w": width, "x": n * width, "y": y + 1}
            yield {"id": next(ids), "gridPos": at} | _panel(**panel)
        y += 1 + _HEIGHT


def _panel(  # noqa: PLR0913 - by name
    *,
    title: str,
    queries: Mapping[str, str] | None = None,
    quantiles_of: str = "",
    kind: str = "timeseries",
    unit: str = "short",
    about: str = "",
    bad_above: float | None = None,
    bad_below: float | None = None,
) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": unit, "min": 0}
    if bad_above is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": bad_above}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if bad_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": bad_below}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if kind == "timeseries" and "thresholds" in defaults:
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": expr, "legendFormat": name}
            for n, (name, expr) in enumerate((queries or _quantiles(quantiles_of)).items())
        ],
    }


def _quantiles(histogram: str) -> dict[str, str]:
    name, brace, matchers = histogram.partition("{")
    buckets = f"sum by (le) (rate({name}_bucket{brace}{matchers}[$__rate_interval]))"
    return {name: f"histogram_quantile({part}, {buckets})" for name, part in _QUANTILES.items()}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, "utf-8")
        print(path, file=sys.stderr)  # noqa: T201 - a command
