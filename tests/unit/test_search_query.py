"""What `query` shows of what an index answers."""

import json
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from consumer.reference.search import query
from consumer.reference.search.file import IndexFile
from content_proto.content_pb2 import ITEM_KIND_EPISODE, CatalogFeedItem, Category, Series
from snapshot_server.client.chunk import Chunk


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "search.db"
    item = CatalogFeedItem(
        kind=ITEM_KIND_EPISODE,
        id=str(UUID(int=1)),
        version=1,
        slug="bread-1",
        title="Bread \x1b[2J[red]rises\x02\x03",
        synopsis="Of\nbread.",
        series=Series(title="Bakers", category=Category(name="Kitchen")),
    )
    with closing(IndexFile.opened(path)) as file:
        file.apply(Chunk([item], [], None, "1-0", None))
    return path


def test_people_see_what_it_is_where_it_belongs_and_nothing_that_moves_their_cursor(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query.run(index, "bread", most=5, as_json=False) == 0
    assert capsys.readouterr().out == (
        "episode  Bread [2J[red]rises  in Bakers  bread-1\n         Kitchen · Of bread.\n"
    )


def test_programs_get_it_without_marks(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert query.run(index, "bak", most=5, as_json=True) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert (answer["kind"], answer["slug"], answer["series"]) == ("episode", "bread-1", "Bakers")


def test_nothing_found_is_no_failure_and_no_index_is(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert query.run(index, "wine", most=5, as_json=False) == 0
    assert capsys.readouterr() == ("", "Nothing was found.\n")
    assert query.run(index.with_name("other.db"), "wine", most=5, as_json=False) == 4
    assert "make run" in capsys.readouterr().err
