"""Who loads a page, and who waits for whom, without a cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from outbox.errors import OutboxUnavailable
from viewer.keys import Kind, PageName
from viewer.manifest import Cdn
from viewer.pages import Found, Pages

if TYPE_CHECKING:
    from viewer.cache.shield import Shield
    from viewer.catalog import Catalog

NAME = PageName(Kind.EPISODE, "pond")


class Away:
    """A cache that is away answers at once."""

    async def look(self, _: PageName) -> None:
        return None


class Tables:
    """Nothing is in them; they answer when they may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.broken = False

    async def find(self, _: PageName) -> None:
        self.asked += 1
        await self.may_answer.wait()
        if self.broken:
            raise OutboxUnavailable


def pages_of(tables: Tables) -> Pages:
    made: Any = Pages(
        cast("Catalog", tables),
        cast("Shield", Away()),
        Cdn.parse("https://cdn.example.com"),
        lambda _: None,
    )
    return cast("Pages", made)


async def asked(pages: Pages, times: int) -> list[asyncio.Task[Found]]:
    """So many requests, each of which waits for its page by now."""
    requests = [asyncio.create_task(pages.find(NAME)) for _ in range(times)]
    for _ in range(5):
        await asyncio.sleep(0)
    return requests


async def test_without_a_cache_whoever_comes_later_waits_for_one_load_that_begins_later() -> None:
    tables = Tables()
    pages = pages_of(tables)
    requests = await asked(pages, 1) + await asked(pages, 20)
    assert tables.asked == 1
    tables.may_answer.set()
    for request in requests:
        assert (await request).page is None
    # What the first has read may be older than the others' requests.
    assert tables.asked == 2


async def test_who_comes_in_the_moment_in_which_a_load_ends_begins_another() -> None:
    tables = Tables()
    pages = pages_of(tables)
    [first] = await asked(pages, 1)
    # Its last step and the first one of the other are in the same round of the event loop.
    tables.may_answer.set()
    second = asyncio.create_task(pages.find(NAME))
    async with asyncio.timeout(5):
        await first
        await second
    assert tables.asked == 2


async def test_a_load_goes_on_for_others_although_the_request_that_began_it_is_broken_off() -> None:
    tables = Tables()
    pages = pages_of(tables)
    first, second = await asked(pages, 2)
    first.cancel()
    tables.may_answer.set()
    assert (await second).page is None


async def test_a_load_that_fails_fails_for_all_who_wait_for_it() -> None:
    tables = Tables()
    pages = pages_of(tables)
    requests = await asked(pages, 3)
    tables.broken = True
    tables.may_answer.set()
    for request in requests:
        with pytest.raises(OutboxUnavailable):
            await request
    tables.broken = False
    assert (await pages.find(NAME)).page is None
