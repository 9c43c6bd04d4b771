"""What an operator can use is written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def _settings() -> set[str]:
    read = r"\b(?:url|choice|number|environment\.get)\(\s*\"([A-Z_]+)\""
    return set(re.findall(read, (ROOT / "publisher/settings.py").read_text("utf-8")))


def _log_events() -> set[str]:
    logged = r"log\.(?:info|warning|error)\(\s*\"([a-z_.]+)\""
    sources = (ROOT / "publisher").glob("*.py")
    return {event for source in sources for event in re.findall(logged, source.read_text("utf-8"))}


@pytest.mark.parametrize("target", _targets())
def test_every_make_target_is_described(target: str) -> None:
    assert f"`make {target}`" in OPERATIONS


@pytest.mark.parametrize("setting", sorted(_settings()))
def test_every_setting_is_described(setting: str) -> None:
    assert f"| `{setting}` |" in OPERATIONS


@pytest.mark.parametrize("event", sorted(_log_events()))
def test_every_log_event_is_described(event: str) -> None:
    assert f"`{event}`" in OPERATIONS


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text("utf-8"))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in sources] == []
