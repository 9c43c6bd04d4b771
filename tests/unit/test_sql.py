"""Statements are found by the names that stand above them."""

import re
from importlib import resources
from pathlib import Path

import pytest

from outbox import sql


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a queries.sql of three statements."""
    folder = tmp_path / "holds_statements"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "queries.sql").write_text(
        "-- of no statement\n\n"
        "-- name: one\nSELECT 1;\n\n"
        "-- name: two\n-- why\nSELECT ';'\n  FROM t;\n"
        "-- name: three\nSELECT '-- name: no'"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_each_statement_is_found_by_its_name_with_its_comment(package: str) -> None:
    assert sql.load(package) == {
        "one": "SELECT 1",
        "two": "-- why\nSELECT ';'\n  FROM t",
        "three": "SELECT '-- name: no'",
    }


@pytest.mark.parametrize(
    "package", ["outbox", "publisher", "snapshot_server", "viewer", "consumer.keeping"]
)
def test_every_name_in_our_files_is_a_statement_of_its_own(package: str) -> None:
    text = resources.files(package).joinpath("queries.sql").read_text("utf-8")
    found = sql.load(package)
    assert list(found) == re.findall("name: (.+)", text)
    begins = re.compile("^(SELECT|WITH|INSERT|UPDATE|DELETE|CREATE|SET)", re.MULTILINE)
    assert all(begins.search(found[name]) for name in found)
