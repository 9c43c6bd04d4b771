"""Reading ahead changes when items are fetched, and nothing else."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from outbox.prefetch import read_ahead


class Source:
    """Counts to *size*, then ends or raises; knows how far it was read and whether it ended."""

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.size, self.error = size, error
        self.fetched = 0
        self.ended = False

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            while self.fetched < self.size:
                await asyncio.sleep(0)
                self.fetched += 1
                yield self.fetched
            if self.error:
                raise self.error
        finally:
            self.ended = True

    async def is_held_up(self) -> None:
        """Return when it is asked for nothing more."""
        before = -1
        while before != self.fetched:
            before = self.fetched
            for _ in range(10):
                await asyncio.sleep(0)


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_all_items_come_in_order(size: int, depth: int) -> None:
    async with read_ahead(Source(size)(), depth=depth) as items:
        assert [item async for item in items] == list(range(1, size + 1))
    assert other_tasks() == set()


async def test_as_many_items_as_asked_for_are_fetched_ahead_and_no_more() -> None:
    source = Source(50)
    async with read_ahead(source(), depth=2) as items:
        assert await anext(items) == 1
        await source.is_held_up()
        # One read, two waiting, and one in the hand of who puts them there.
        assert source.fetched == 4


async def test_an_error_comes_where_the_next_item_would_have_been() -> None:
    error, read = ConnectionError("gone"), list[int]()
    with pytest.raises(ConnectionError) as raised:  # noqa: PT012 - where it comes is the point
        async with read_ahead(Source(3, error)(), depth=2) as items:
            async for item in items:
                read.append(item)
    assert read == [1, 2, 3]
    assert raised.value is error


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_leaving_early_ends_the_source_and_leaves_no_task(size: int) -> None:
    source = Source(size)
    async with read_ahead(source(), depth=2) as items:
        assert await anext(items) == 1
        await source.is_held_up()
    assert source.ended
    assert other_tasks() == set()


async def test_leaving_while_the_source_fetches_ends_it() -> None:
    cancelled = False

    async def source() -> AsyncGenerator[int, None]:
        nonlocal cancelled
        yield 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async with asyncio.timeout(5), read_ahead(source(), depth=2) as items:
        assert await anext(items) == 1
        for _ in range(5):
            await asyncio.sleep(0)
    assert cancelled
    assert other_tasks() == set()


async def test_what_the_reader_raises_is_not_lost() -> None:
    source = Source(50)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the reader raises
        async with read_ahead(source(), depth=2) as items:
            async for _ in items:
                raise ZeroDivisionError
    assert source.ended


async def test_an_error_that_nobody_came_to_see_is_not_complained_about() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said))
    source = Source(1, ConnectionError("gone"))
    async with read_ahead(source(), depth=2) as items:
        assert await anext(items) == 1
        await source.is_held_up()
    del items
    gc.collect()
    assert complaints == []
