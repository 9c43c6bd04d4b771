"""The index, for a program that must not wait for a disk."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from consumer.reference.search.file import IndexFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from snapshot_server.client.chunk import Chunk
    from snapshot_server.client.tally import Totals

T = TypeVar("T")


class SearchIndex:
    """What a search finds, as a target of `bootstrap`; it works in a thread of its own."""

    def __init__(self, file: IndexFile, thread: ThreadPoolExecutor) -> None:
        self._file, self._thread = file, thread

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator[SearchIndex]:
        """The index in the file *path*, which is made if need be. Raises IndexUnusable."""
        with ThreadPoolExecutor(1, "search-index") as thread:
            loop = asyncio.get_running_loop()
            file = await loop.run_in_executor(thread, IndexFile.opened, path)
            try:
                yield cls(file, thread)
            finally:
                # Behind what is still under way, also when the task was cancelled.
                thread.submit(file.close)

    async def bookmark(self) -> str | None:
        """Of the last chunk that was applied."""
        return await self._apart(self._file.bookmark)

    async def begin_anew(self) -> None:
        """Go on finding what is there, until all of it has come again."""
        await self._apart(self._file.begin_anew)

    async def apply(self, chunk: Chunk) -> Totals:
        """Index *chunk* and store its bookmark, in one transaction."""
        return await self._apart(lambda: self._file.apply(chunk))

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
