"""What the index answers, best first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from consumer.reference.search.errors import IndexMissing, IndexUnusable
from consumer.reference.search.words import expression
from content_proto.content_pb2 import ItemKind
from outbox import sql

if TYPE_CHECKING:
    from pathlib import Path

_SQL = sql.load("consumer.reference.search")
_BUSY_S = 5.0
OPEN, CLOSE = "\x02", "\x03"
"""Around each word that was found."""


class Answer(NamedTuple):
    """An item; the words that were found are marked in its texts."""

    kind: str
    id: str
    slug: str
    title: str
    series: str
    category: str
    synopsis: str
    score: float
    """More is better; only to be compared with others of the same search."""


def search(path: Path, asked: str, *, most: int) -> list[Answer]:
    """At most *most*, best first. Raises IndexMissing, IndexUnusable."""
    wanted = expression(asked)
    if not path.exists():
        raise IndexMissing
    try:
        # Read only: a search makes no file, nor anything in one.
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as database:
            given = {"wanted": wanted, "most": most, "open": OPEN, "close": CLOSE}
            rows = database.execute(_SQL["search"], given).fetchall() if wanted else []
    except sqlite3.Error as exc:
        if "no such table" in str(exc):
            raise IndexMissing from exc
        raise IndexUnusable(f"SEARCH_INDEX cannot be read: {exc}") from exc
    return [Answer(_kind(kind), *rest) for kind, *rest in rows]


def _kind(number: int) -> str:
    """``series`` or ``episode``."""
    return ItemKind.Name(number).removeprefix("ITEM_KIND_").lower()
