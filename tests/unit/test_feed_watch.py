"""One look at the feed serves all who wait for it."""

import asyncio

import pytest

from outbox.errors import OutboxUnavailable
from snapshot_server.content.waiting import FeedWatch
from snapshot_server.errors import Draining


class Place:
    """Where a feed is said to be."""

    def __init__(self, version: int | None = None) -> None:
        self.version = version
        self.looks = 0
        self._looked = asyncio.Event()
        self.error: Exception | None = None

    async def look(self) -> int | None:
        self.looks += 1
        self._looked.set()
        if self.error:
            raise self.error
        return self.version

    async def looked(self, more: int) -> None:
        async with asyncio.timeout(5):
            wanted = self.looks + more
            while self.looks < wanted:
                self._looked.clear()
                await self._looked.wait()


async def test_each_is_woken_when_the_feed_has_come_to_where_it_waits() -> None:
    place = Place()
    watch = FeedWatch(place.look)
    near, far = (asyncio.create_task(watch.reach(version)) for version in (5, 9))
    await place.looked(2)
    assert not near.done()
    place.version = 6
    await near
    assert not far.done()
    place.version = 9
    await far


async def test_many_who_wait_cost_no_more_looks_than_one() -> None:
    place = Place(1)
    watch = FeedWatch(place.look)
    waiting = [asyncio.create_task(watch.reach(2)) for _ in range(100)]
    await place.looked(3)
    assert place.looks < 10
    place.version = 2
    await asyncio.gather(*waiting)


async def test_nobody_looks_when_nobody_waits() -> None:
    place = Place(1)
    watch = FeedWatch(place.look)
    await watch.reach(1)
    waiting = asyncio.create_task(watch.reach(2))
    await place.looked(1)
    waiting.cancel()
    async with asyncio.timeout(5):
        await watch.idle()
    looks = place.looks
    await asyncio.sleep(0)
    assert place.looks == looks
    await watch.reach(1)
    await watch.idle()


async def test_an_error_is_for_all_who_wait_and_not_for_the_next() -> None:
    place = Place(1)
    watch = FeedWatch(place.look)
    place.error = OutboxUnavailable()
    for waiting in [asyncio.create_task(watch.reach(2)) for _ in range(3)]:
        with pytest.raises(OutboxUnavailable):
            await waiting
    place.error = None
    await watch.reach(1)
    await watch.idle()


async def test_a_watch_that_refuses_does_so_now_and_later() -> None:
    watch = FeedWatch(Place(1).look)
    waiting = asyncio.create_task(watch.reach(2))
    await asyncio.sleep(0)
    watch.refuse(Draining())
    with pytest.raises(Draining):
        await waiting
    with pytest.raises(Draining):
        await watch.reach(1)
    await watch.idle()
