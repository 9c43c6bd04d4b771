"""The index as SQLite has it: items by kind and id, their words, and how far all of it is."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from consumer.reference.search.errors import IndexUnusable
from consumer.reference.search.words import Words
from content_proto.content_pb2 import ITEM_KIND_EPISODE, ITEM_KIND_SERIES
from outbox import sql
from snapshot_server.client.tally import Totals
from snapshot_server.digest import item_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from content_proto.content_pb2 import CatalogFeedItem, RemovedItem
    from snapshot_server.client.chunk import Chunk

_SQL = sql.load("consumer.reference.search")
_FORMAT = 1
"""A file of another one is filled anew."""
_BUSY_S = 10.0


class _State(NamedTuple):
    """Counts and digest are those of the items of this generation."""

    bookmark: str | None
    generation: int
    series: int
    episodes: int
    digest: str


class IndexFile:
    """For one thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    def opened(cls, path: Path) -> IndexFile:
        """The index in *path*, which is made if need be. Raises IndexUnusable."""
        try:
            database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        except sqlite3.Error as exc:
            raise IndexUnusable(f"SEARCH_INDEX is {path}: {exc}") from exc
        try:
            _prepare(database)
        except sqlite3.Error as exc:
            database.close()
            raise IndexUnusable(f"SEARCH_INDEX is {path}: {exc}") from exc
        return cls(database)

    def close(self) -> None:
        """After that nothing works any more."""
        self._database.close()

    def bookmark(self) -> str | None:
        """Of the last chunk that was applied."""
        return self._state().bookmark

    def begin_anew(self) -> None:
        """Begin a generation; what is of an earlier one is found until the new one is whole."""
        self._database.execute(_SQL["begin_anew"])

    def apply(self, chunk: Chunk) -> Totals:
        """All of it or nothing."""
        with self._transaction():
            generation = _Generation(self._database, self._state())
            for item in chunk.items:
                generation.put(item)
            for gone in chunk.removed:
                generation.remove(gone)
            if chunk.position:
                generation.drop_earlier()
            totals = generation.totals
            bookmark = chunk.position or chunk.next_cursor
            counts = (totals.series, totals.episodes, str(totals.digest))
            self._database.execute(_SQL["keep"], (bookmark, *counts))
        return totals

    def _state(self) -> _State:
        return _State(*self._database.execute(_SQL["state"]).fetchone())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _prepare(database: sqlite3.Connection) -> None:
    # Who searches does not wait for who writes. A power cut may take the last transactions, items
    # and bookmark together, and the next sync brings them back.
    database.execute("PRAGMA journal_mode = wal")
    database.execute("PRAGMA synchronous = normal")
    [found] = database.execute("PRAGMA user_version").fetchone()
    parts = ["schema"] if found == _FORMAT else ["drop", "schema"]
    marked = f"PRAGMA user_version = {_FORMAT}"
    script = ["BEGIN IMMEDIATE", *(_SQL[part] for part in parts), marked, "COMMIT"]
    database.executescript(";\n".join(script))


class _Generation:
    """The items of one beginning, and what they come to, in a transaction."""

    def __init__(self, database: sqlite3.Connection, state: _State) -> None:
        self._database = database
        self._number = state.generation
        self._counts: dict[int, int] = {
            ITEM_KIND_SERIES: state.series,
            ITEM_KIND_EPISODE: state.episodes,
        }
        self._digest = int(state.digest)

    @property
    def totals(self) -> Totals:
        return Totals(self._counts[ITEM_KIND_SERIES], self._counts[ITEM_KIND_EPISODE], self._digest)

    def put(self, item: CatalogFeedItem) -> None:
        number = self._took(item, live=True, slug=item.slug)
        if number is not None:
            self._database.execute(_SQL["put_words"], (number, *Words.of(item)))

    def remove(self, gone: RemovedItem) -> None:
        number = self._took(gone, live=False, slug="")
        if number is not None:
            self._database.execute(_SQL["drop_words"], (number,))

    def drop_earlier(self) -> None:
        """What did not come again is not in the catalog any more."""
        for name in ("drop_words_of_earlier", "drop_items_of_earlier"):
            self._database.execute(_SQL[name], (self._number,))

    def _took(self, news: CatalogFeedItem | RemovedItem, *, live: bool, slug: str) -> int | None:
        """The row's number, now that it is of *news*; None where that is old."""
        kind, id_, version = news.kind, news.id, news.version
        held = self._database.execute(_SQL["held"], (kind, id_, self._number)).fetchone()
        if held and version < held[0]:
            return None
        if held and held[1]:
            self._count(kind, id_, held[0], -1)
        if live:
            self._count(kind, id_, version, +1)
        row = (kind, id_, version, self._number, live, slug)
        number: int = self._database.execute(_SQL["put"], row).fetchone()[0]
        return number

    def _count(self, kind: int, id_: str, version: int, sign: int) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + sign
        self._digest = (self._digest + sign * item_digest(kind, UUID(id_), version)) % 2**64
