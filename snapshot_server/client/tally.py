"""What a client holds, counted as the service counts it; and the whole of it in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from snapshot_server.client.errors import SummaryMismatch
from snapshot_server.digest import item_digest

if TYPE_CHECKING:
    from content_proto.content_pb2 import CatalogFeedItem, CatalogSummary
    from snapshot_server.client.chunk import Chunk

_SERIES, _EPISODE = 1, 2

Key = tuple[int, str]
"""Kind and id of an item."""


class Totals(NamedTuple):
    """How many items there are, and their digest."""

    series: int
    episodes: int
    digest: int


class Tally:
    """The versions of the items that a client holds, and what they come to.

    A sync from nothing begins with an empty one: what was removed long ago is not told again.
    """

    def __init__(self) -> None:
        self._live: dict[Key, int] = {}
        self._removed: dict[Key, int] = {}
        self._digest = 0
        self._counts = {_SERIES: 0, _EPISODE: 0}
        self.position: str | None = None
        """Of the last chunk; None before there was one."""

    @property
    def totals(self) -> Totals:
        """As a summary has them."""
        return Totals(self._counts[_SERIES], self._counts[_EPISODE], self._digest)

    def apply(self, chunk: Chunk) -> None:
        """Take in what *chunk* has; a lower version than the one that is held changes nothing.

        Raises SummaryMismatch at the last chunk.
        """
        for item in chunk.items:
            key, version = (item.kind, item.id), item.version
            if self._is_news(key, version):
                self._put(key, version, item)
        for gone in chunk.removed:
            key, version = (gone.kind, gone.id), gone.version
            if self._is_news(key, version):
                self._drop(key, version)
        if chunk.position is not None:
            self.position = chunk.position
            # At a position all that is older is behind us, so removals need not be remembered.
            self._removed.clear()
            if chunk.summary is not None:
                self._verify(chunk.position, chunk.summary)

    def _is_news(self, key: Key, version: int) -> bool:
        return version >= self._live.get(key, 0) and version >= self._removed.get(key, 0)

    def _put(self, key: Key, version: int, _: CatalogFeedItem) -> None:
        self._forget(key)
        self._removed.pop(key, None)
        self._live[key] = version
        self._count(key, version, +1)

    def _drop(self, key: Key, version: int) -> None:
        self._forget(key)
        self._removed[key] = version

    def _forget(self, key: Key) -> None:
        if (version := self._live.pop(key, None)) is not None:
            self._count(key, version, -1)

    def _count(self, key: Key, version: int, sign: int) -> None:
        kind, id_ = key
        self._counts[kind] = self._counts.get(kind, 0) + sign
        self._digest = (self._digest + sign * item_digest(kind, UUID(id_), version)) % 2**64

    def _verify(self, position: str, summary: CatalogSummary) -> None:
        expected = Totals(summary.series, summary.episodes, summary.digest)
        if expected != self.totals:
            raise SummaryMismatch(position, expected, self.totals)


class Mirror(Tally):
    """The catalog as of *position*, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[Key, CatalogFeedItem] = {}

    def _put(self, key: Key, version: int, item: CatalogFeedItem) -> None:
        super()._put(key, version, item)
        self.items[key] = item

    def _drop(self, key: Key, version: int) -> None:
        super()._drop(key, version)
        self.items.pop(key, None)
