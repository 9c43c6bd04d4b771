"""The search index alone: what it holds after chunks in any order, and what it finds."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.reference.search.answers import CLOSE, OPEN, search
from consumer.reference.search.errors import IndexMissing, IndexUnusable
from consumer.reference.search.file import IndexFile
from content_proto.content_pb2 import (
    ITEM_KIND_EPISODE,
    ITEM_KIND_SERIES,
    CatalogFeedItem,
    Category,
    RemovedItem,
    Series,
)
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.tally import Tally

Open = Callable[[], IndexFile]


def item(number: int, version: int = 1, title: str = "", **texts: str) -> CatalogFeedItem:
    series = Series(
        title=texts.pop("series", ""), category=Category(name=texts.pop("category", ""))
    )
    return CatalogFeedItem(
        kind=ITEM_KIND_EPISODE,
        id=str(UUID(int=number)),
        version=version,
        slug=f"e{number}",
        title=title or f"no{number}",
        series=series,
        **texts,  # type: ignore[arg-type]
    )


def gone(number: int, version: int) -> RemovedItem:
    return RemovedItem(kind=ITEM_KIND_EPISODE, id=str(UUID(int=number)), version=version)


def chunk(
    *items: CatalogFeedItem,
    removed: tuple[RemovedItem, ...] = (),
    cursor: str = "",
    position: str = "",
) -> Chunk:
    return Chunk(items, removed, cursor or None, position or None, None)


def found(path: Path, asked: str) -> list[str]:
    return [answer.slug for answer in search(path, asked, most=20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search index.db"


def test_it_holds_what_was_applied_and_knows_where_it_was(path: Path) -> None:
    file = IndexFile.opened(path)
    assert file.bookmark() is None
    file.begin_anew()
    file.apply(chunk(item(1), cursor="c1"))
    file.close()
    with closing(IndexFile.opened(path)) as again:
        assert again.bookmark() == "c1"
        again.apply(chunk(item(2), position="7-0"))
        assert again.bookmark() == "7-0"
    assert found(path, "no") == ["e1", "e2"]


def test_an_older_version_changes_nothing_and_a_removal_is_remembered(path: Path) -> None:
    with closing(IndexFile.opened(path)) as file:
        file.apply(
            chunk(item(1, 5, "new"), item(2, 5), removed=(gone(3, 5), gone(2, 4)), cursor="a")
        )
        file.apply(chunk(item(1, 4, "old"), item(3, 4), cursor="b"))
        assert [*found(path, "new"), *found(path, "no")] == ["e1", "e2"]
        file.apply(chunk(item(3, 6), removed=(gone(1, 6),), cursor="c"))
    assert [*found(path, "new"), *found(path, "no")] == ["e2", "e3"]


def test_anew_it_goes_on_finding_until_all_has_come_whatever_its_version(path: Path) -> None:
    with closing(IndexFile.opened(path)) as file:
        file.begin_anew()
        file.apply(chunk(item(1, 9), item(2, 9), position="9-0"))
        file.begin_anew()
        assert file.bookmark() is None
        file.apply(chunk(item(1, 3, "abandoned"), cursor="c1"))
        file.begin_anew()
        assert [*found(path, "abandoned"), *found(path, "no2")] == ["e1", "e2"]
        totals = file.apply(chunk(item(4, 2), position="2-0"))
    assert [*found(path, "abandoned"), *found(path, "no")] == ["e4"]
    assert (totals.series, totals.episodes) == (0, 1)


changes = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 6), st.booleans(), st.booleans()), max_size=30
)


@settings(max_examples=50, deadline=None)
@given(changes=changes)
def test_it_counts_as_the_service_does(changes: list[tuple[int, int, bool, bool]]) -> None:
    tally = Tally()
    with closing(IndexFile.opened(Path(":memory:"))) as file:
        for number, version, is_series, live in changes:
            kind = ITEM_KIND_SERIES if is_series else ITEM_KIND_EPISODE
            put, drop = item(number, version), gone(number, version)
            put.kind = drop.kind = kind
            one = chunk(put, cursor="c") if live else chunk(removed=(drop,), cursor="c")
            tally.apply(one)
            assert file.apply(one) == tally.totals


def test_the_title_counts_most_and_what_was_found_is_marked(path: Path) -> None:
    with closing(IndexFile.opened(path)) as file:
        series = item(3, title="Crumb", synopsis="of bread")
        series.kind = ITEM_KIND_SERIES
        file.apply(
            chunk(
                item(1, title="Crust", series="Breads"),
                item(2, title="Brèad & Salt", tags=["bread"]),  # type: ignore[arg-type]
                series,
                item(4, title="Oven", category="Breads"),
                item(5, title="Sea"),
                position="1-0",
            )
        )
    answers = search(path, "bread", most=20)
    assert [answer.slug for answer in answers] == ["e2", "e1", "e4", "e3"]
    assert answers[0].title == f"{OPEN}Brèad{CLOSE} & Salt"
    assert answers[2].category == f"{OPEN}Breads{CLOSE}"
    assert (answers[3].kind, answers[3].synopsis) == ("series", f"of {OPEN}bread{CLOSE}")
    assert found(path, "bread cru") == ["e1", "e3"]
    assert found(path, "***") == []
    assert len(search(path, "bread", most=2)) == 2


def test_who_searches_sees_all_of_a_chunk_or_nothing_and_does_not_wait(path: Path) -> None:
    with closing(IndexFile.opened(path)) as file:
        file.apply(chunk(item(1), position="1-0"))
        with file._transaction():  # noqa: SLF001 - a chunk that is half applied
            file._database.execute("DELETE FROM words")  # noqa: SLF001
            assert found(path, "no") == ["e1"]


def test_a_file_of_another_format_is_filled_anew(path: Path) -> None:
    with closing(IndexFile.opened(path)) as file:
        file.apply(chunk(item(1), position="1-0"))
        file._database.execute("PRAGMA user_version = 99")  # noqa: SLF001
    with closing(IndexFile.opened(path)) as file:
        assert file.bookmark() is None
    assert found(path, "no") == []


def test_without_an_index_it_says_what_makes_one(path: Path) -> None:
    with pytest.raises(IndexMissing):
        search(path, "bread", most=1)
    assert not path.exists()
    sqlite3.connect(path).execute("CREATE TABLE other (a)")
    with pytest.raises(IndexMissing):
        search(path, "bread", most=1)
    path.write_text("no database" * 100)
    with pytest.raises(IndexUnusable):
        search(path, "bread", most=1)
    with pytest.raises(IndexUnusable):
        IndexFile.opened(path)


def test_a_chunk_is_applied_whole_or_not_at_all(path: Path) -> None:
    broken = item(2)
    broken.id = "no UUID"
    with closing(IndexFile.opened(path)) as file:
        file.apply(chunk(item(1), cursor="c1"))
        with pytest.raises(ValueError, match="UUID"):
            file.apply(chunk(item(3), broken, cursor="c2"))
        assert file.bookmark() == "c1"
    assert found(path, "no") == ["e1"]
