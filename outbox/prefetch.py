"""Reading ahead: the next batches are fetched while one is appended."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

T = TypeVar("T")


@asynccontextmanager
async def read_ahead(
    source: AsyncGenerator[T, None], *, depth: int
) -> AsyncIterator[AsyncIterator[T]]:
    """Iterate *source* with up to *depth* items fetched before they are asked for.

    What *source* raises is raised where its next item would have been.
    """
    queue: asyncio.Queue[T | None] = asyncio.Queue(depth)

    async def fill() -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    await queue.put(item)
        finally:
            await queue.put(None)

    async def items(filling: asyncio.Task[None]) -> AsyncGenerator[T, None]:
        while (item := await queue.get()) is not None:
            yield item
        await filling

    filling = asyncio.create_task(fill())
    try:
        yield items(filling)
    finally:
        filling.cancel()
        while not filling.done():
            # The last put may wait for room.
            if not queue.empty():
                queue.get_nowait()
            await asyncio.wait([filling], timeout=0.01)
        if not filling.cancelled():
            # Asked for, or asyncio would complain that nobody did.
            filling.exception()
