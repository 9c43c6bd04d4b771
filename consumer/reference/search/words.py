"""What of an item can be searched for, and how a search is written."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from content_proto.content_pb2 import ITEM_KIND_EPISODE

if TYPE_CHECKING:
    from content_proto.content_pb2 import CatalogFeedItem

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 16


class Words(NamedTuple):
    """The columns of the index."""

    title: str
    series: str
    category: str
    tags: str
    synopsis: str

    @classmethod
    def of(cls, item: CatalogFeedItem) -> Words:
        """An episode is also found by its series, and everything by its category."""
        return cls(
            title=item.title,
            series=item.series.title if item.kind == ITEM_KIND_EPISODE else "",
            category=item.series.category.name,
            tags=", ".join(item.tags),
            synopsis=item.synopsis,
        )


def expression(asked: str) -> str | None:
    """Whatever somebody typed, as FTS5 takes it; None if there is no word in it.

    Every word must be the beginning of one. In quotes none of them means anything else.
    """
    words = _WORD.findall(unicodedata.normalize("NFC", asked))[:_MOST_WORDS]
    return " AND ".join(f'"{word}" *' for word in words) or None
