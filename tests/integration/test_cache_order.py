"""A value that was read before a change is never cached after the purge of that change."""

import asyncio

import asyncpg
import pytest
from changes import CHANGES, Shop, new_shop, retitle
from redis.asyncio import Redis
from shown import Events
from viewing import halted_viewer, keys_in, name_of, store_at

from viewer import keys
from viewer.cache.store import Place, Store
from viewer.keys import Kind
from viewer.reports import FillRefused


@pytest.fixture
async def shop(connection: asyncpg.Connection) -> Shop:
    return await new_shop(connection)


async def test_a_change_purges_a_page_and_refuses_one_that_was_read_before_it(
    database: str, redis_url: str, redis: Redis, shop: Shop
) -> None:
    async with halted_viewer(database, redis_url) as (viewer, halt), store_at(redis_url) as store:
        events = Events(shop.rows.connection, store)
        await events.new()
        for number, (path, change) in enumerate(CHANGES, 1):
            case = f"{path} {change.__name__}"
            url = "/v1/catalog/" + path.format(shop)
            old = await viewer.get(url)
            assert (old.status, old.cache) == (200, "miss"), case
            [key] = await keys_in(redis)
            page = await redis.getdel(key)
            assert page, case

            halt.stop()
            reading = asyncio.create_task(viewer.get(url))
            await halt.has_read.wait()
            # As if a loader of another process had cached it meanwhile.
            await redis.set(key, page)
            await change(shop)
            assert key in await events.purge(), case
            halt.go_on()
            assert (await reading).page == old.page, case
            assert await keys_in(redis) == set(), case
            assert len([one for one in viewer.reports if isinstance(one, FillRefused)]) == number

            new = await viewer.get(url)
            assert (new.cache, new.page == old.page) == ("miss", False), case
            again = await viewer.get(url)
            assert again.page == new.page, case
            assert again.cache == ("hit" if new.status == 200 else "miss"), case
            await redis.delete(key)


async def test_who_asks_after_a_purge_gets_nothing_that_was_read_before_it(
    database: str, connection: asyncpg.Connection, redis_url: str, shop: Shop
) -> None:
    async with halted_viewer(database, redis_url) as (viewer, halt), store_at(redis_url) as store:
        events = Events(connection, store)
        await events.new()
        halt.stop()
        before = asyncio.create_task(viewer.episode("pond"))
        await halt.has_read.wait()
        await retitle(shop)
        await events.purge()
        # These join the one that is under way, which is too old for them.
        after = [asyncio.create_task(viewer.episode("pond")) for _ in range(5)]
        await viewer.store.were_looked_for(6)
        halt.go_on()
        assert (await before).page["title"] == "Pond"
        assert "Pond" not in [(await one).page["title"] for one in after]
        assert halt.asked == 2


async def test_a_stampede_is_one_load_of_a_process(
    database: str, redis_url: str, shop: Shop
) -> None:
    async with halted_viewer(database, redis_url) as (viewer, halt):
        halt.stop()
        asked = [asyncio.create_task(viewer.episode(shop.episode)) for _ in range(50)]
        await viewer.store.were_looked_for(50)
        halt.go_on()
        answers = [await one for one in asked]
        assert {answer.page["id"] for answer in answers} == {str(shop.episode)}
        assert halt.asked == 1


async def test_a_stampede_is_one_load_of_all_processes_unless_that_takes_long(
    database: str, redis_url: str, shop: Shop
) -> None:
    async with (
        halted_viewer(database, redis_url) as (first, halt),
        halted_viewer(database, redis_url) as (second, other),
    ):
        halt.stop()
        loading = asyncio.create_task(first.episode("pond"))
        await halt.has_read.wait()
        waiting = asyncio.create_task(second.episode("pond"))
        await second.store.were_looked_for(2)
        halt.go_on()
        assert (await loading).cache == "miss"
        assert (await waiting).cache == "hit"
        assert other.asked == 0

        halt.stop()
        loading = asyncio.create_task(first.series("frogs"))
        await halt.has_read.wait()
        # It stays stopped, and nobody waits for it for ever.
        assert (await second.series("frogs")).status == 200
        halt.go_on()
        await loading
        assert shop.frogs


async def test_purges_that_are_forgotten_refuse_whoever_may_have_missed_them(
    redis_url: str,
) -> None:
    async with store_at(redis_url, remembered_purges=2) as store:
        name = name_of(Kind.EPISODE, "pond")
        place = await placed(store)
        await store.purge(["episode:1"])
        later = await placed(store)
        await store.purge(["episode:2", "episode:3"])
        assert not await store.fill(name, b"{}", ["episode:9"], place, ttl_s=9)
        assert not await store.fill(name, b"{}", ["episode:2"], later, ttl_s=9)
        assert await store.fill(name, b"{}", ["episode:1", "episode:9"], later, ttl_s=9)
        assert await store.look(name) == b"{}"


async def test_a_purge_of_many_pages_takes_all_of_them(redis_url: str, redis: Redis) -> None:
    async with store_at(redis_url) as store:
        pages = [name_of(Kind.EPISODE, f"pond-{number}").key for number in range(2500)]
        await redis.mset(dict.fromkeys(pages, "{}"))
        await redis.sadd(f"{keys.TAG}category:1", *pages)
        gone = await store.purge([f"tag:{number}" for number in range(700)] + ["category:1"])
        assert {page.key for page in gone} == set(pages)
        assert not await keys_in(redis)


async def placed(store: Store) -> Place:
    place = await store.look(name_of(Kind.EPISODE, "of-nobody"))
    assert isinstance(place, Place)
    return place
