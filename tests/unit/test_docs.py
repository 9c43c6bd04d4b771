"""What an operator can use is written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from alerting import alerts

from consumer import reports
from consumer.watching.metrics import Metrics as ConsumerMetrics
from consumer.watching.observing import LINES
from publisher.web.labels import Reason
from publisher.web.metrics import Metrics
from snapshot_server.serving.metrics import Metrics as SnapshotMetrics
from viewer.metrics import InvalidatorMetrics
from viewer.metrics import Metrics as ViewerMetrics

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def _settings() -> set[str]:
    read = r"\b(?:url|choice|number|address|environment\.get)\(\s*\"([A-Z_]+)\""
    known = set(re.findall(read, (ROOT / "publisher/settings.py").read_text("utf-8")))
    # Each of these names in the snapshot server's is read, or goes with one that is.
    served = re.findall(r"\"([A-Z]+_[A-Z_]+)\"", _source("snapshot_server/settings.py"))
    consumed = re.findall(r"\"(CONSUMER_[A-Z_]+)\"", _source("consumer/reference/environment.py"))
    viewed = re.findall(r"\"((?:VIEWER|CACHE)_[A-Z_]+)\"", _source("viewer/settings.py"))
    searched = re.findall(r"\"(SEARCH_[A-Z_]+)\"", _source("consumer/reference/search/settings.py"))
    return known | set(served) | set(consumed) | set(viewed) | set(searched)


def _source(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def _log_events() -> set[str]:
    logged = r"log\.(?:info|warning|error|exception)\(\s*\"([a-z_.]+)\""
    programs = ("consumer", "process", "publisher", "snapshot_server", "viewer")
    sources = [source for program in programs for source in (ROOT / program).rglob("*.py")]
    found = {event for source in sources for event in re.findall(logged, source.read_text("utf-8"))}
    return found | {event for level, event in LINES.values() if level != "debug"}


def _metrics() -> set[str]:
    suffix = {"counter": "_total", "info": "_info"}
    found = Metrics([]).registry.collect()
    names = {family.name + suffix.get(family.type, "") for family in found}
    return {name for name in names if name.startswith("catalog_")}


def _section(heading: str) -> str:
    """What stands below *heading*, up to the next one."""
    _, _, below = OPERATIONS.partition(f"\n{heading}\n")
    return re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("target", _targets())
def test_every_make_target_is_described(target: str) -> None:
    assert f"`make {target}`" in OPERATIONS


@pytest.mark.parametrize("setting", sorted(_settings()))
def test_every_setting_is_described(setting: str) -> None:
    assert f"| `{setting}` |" in OPERATIONS


@pytest.mark.parametrize("event", sorted(_log_events()))
def test_every_log_event_is_described(event: str) -> None:
    assert f"`{event}`" in OPERATIONS


def test_every_metric_is_described_and_no_other() -> None:
    described = re.findall(r"^\| `(catalog_(?:publisher|stream)_\w+)` \|", OPERATIONS, re.MULTILINE)
    assert sorted(described) == sorted(_metrics())
    named = set(re.findall(r"\bcatalog_(?:publisher|stream)_\w+", OPERATIONS))
    assert named - _metrics() == set()


def test_every_metric_of_the_snapshot_server_is_described_and_no_other() -> None:
    suffix = {"counter": "_total", "info": "_info"}
    found = SnapshotMetrics().registry.collect()
    names = {family.name + suffix.get(family.type, "") for family in found}
    ours = {name for name in names if name.startswith(("snapshot_", "projector_", "content_"))}
    rows = r"^\| `((?:snapshot|projector|content)_[a-z_]+)` \|"
    described = re.findall(rows, _section("### Metrics of the snapshot server"), re.MULTILINE)
    assert sorted(described) == sorted(ours)


def test_every_metric_of_consumers_is_described_and_no_other() -> None:
    suffix = {"counter": "_total", "info": "_info"}
    found = ConsumerMetrics().registry.collect()
    names = {family.name + suffix.get(family.type, "") for family in found}
    ours = {name for name in names if name.startswith("consumer_")}
    section = _section("### Metrics of consumers")
    described = re.findall(r"^\| `(consumer_[a-z_]+)` \|", section, re.MULTILINE)
    assert sorted(described) == sorted(ours)


def test_every_metric_of_viewer_and_invalidator_is_described_and_no_other() -> None:
    suffix = {"counter": "_total", "info": "_info"}
    registries = (ViewerMetrics().registry, InvalidatorMetrics().registry)
    found = [family for registry in registries for family in registry.collect()]
    names = {family.name + suffix.get(family.type, "") for family in found}
    ours = {name for name in names if name.startswith(("viewer_", "invalidator_", "content_"))}
    section = _section("### Metrics of viewer and invalidator")
    described = re.findall(
        r"^\| `((?:viewer|invalidator|content)_[a-z_]+)` \|", section, re.MULTILINE
    )
    assert sorted(described) == sorted(ours)


@pytest.mark.parametrize("report", get_args(reports.Report), ids=lambda kind: kind.__name__)
def test_every_report_of_a_consumer_has_its_log_line(report: type) -> None:
    assert report in LINES


@pytest.mark.parametrize("alert", [alert.name for alert in alerts()])
def test_every_alert_has_its_meaning_and_what_to_check_and_to_do(alert: str) -> None:
    paragraphs = _section(f"### {alert}").strip().split("\n\n")
    assert [part.split()[0] for part in paragraphs[:3]] == [
        "**Meaning.**",
        "**Check.**",
        "**Act.**",
    ]


@pytest.mark.parametrize("reason", sorted(Reason))
def test_every_reason_of_back_pressure_says_what_to_do(reason: Reason) -> None:
    [paragraph] = re.findall(rf"^`{reason}`: .*?\n\n", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert re.search(r"See\s\[", paragraph) or ("*Check* " in paragraph and "*Act*" in paragraph)


def test_every_anchor_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", OPERATIONS)) - anchors == set()


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text("utf-8"))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in sources] == []
