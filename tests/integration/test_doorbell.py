"""A search index follows the catalog through its content service, and events only ring."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from consuming import Member, consuming
from publishing import GO_ON, OnePass, eventually, outbox_pool
from redis.asyncio import Redis
from servers import Connect
from whole_server import TOKEN, Whole, whole

from consumer import Doorbell, Gap, SnapshotFirst
from consumer.event import Group
from consumer.reference.search.answers import CLOSE, OPEN, search
from consumer.reference.search.index import SearchIndex
from consumer.reports import GapHealed, GroupMade, Handled
from consumer.syncing.sync_reports import Report, Synced
from outbox.position import Position
from snapshot_server.client.client import SnapshotClient

STREAM = "catalog:events"
_ADD = (
    "INSERT INTO catalog.series (slug, title, status, visibility)"
    " VALUES ($1, $1, 'PUBLISHED', 'PUBLIC')"
)
_RETITLE = "UPDATE catalog.series SET title = title || ' s' WHERE slug = $1"
_RENAME = "UPDATE catalog.category SET name = 'Thriller' WHERE slug = 'drama'"


@dataclass
class World:
    """A catalog, its stream and its service, which move on when they are told; and an index."""

    service: Whole
    publisher: OnePass
    redis: Redis
    index: SearchIndex
    path: Path
    client: SnapshotClient
    syncs: list[Report]

    @property
    def connection(self) -> asyncpg.Connection:
        return self.service.connection

    async def move_on(self) -> None:
        await self.publisher.publish(GO_ON)
        await self.service.follow()

    @asynccontextmanager
    async def moving_on(self) -> AsyncIterator[None]:
        """Without being told, until the end of the block."""

        async def go_on() -> None:
            while not ended.is_set():
                await self.move_on()
                await asyncio.sleep(0.01)

        ended = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(go_on())
            try:
                yield
            finally:
                ended.set()

    def doorbell(self) -> Doorbell:
        return Doorbell(self.client, self.index, observe=self.syncs.append)

    @asynccontextmanager
    async def search_service(self) -> AsyncIterator[Member]:
        bell = self.doorbell()
        async with consuming(
            self.redis, batch_handler=bell.ring, start=bell.start, on_gap=bell.heal
        ) as member:
            yield member

    async def level(self, member: Member) -> None:
        """Return once the index has all that is in the stream."""
        newest = Position.parse((await self.redis.xinfo_stream(STREAM))["last-generated-id"])

        def is_there() -> bool:
            positions = [one.position for one in self.syncs if isinstance(one, Synced)]
            return bool(positions) and max(positions) >= newest

        await member.until(is_there)

    def found(self, asked: str) -> list[str]:
        return sorted(answer.slug for answer in search(self.path, asked, most=999))

    async def assert_exact(self) -> None:
        """The index has the series of the tables, each with its title, and no other."""
        rows = await self.connection.fetch("SELECT title FROM catalog.series ORDER BY title")
        answers = search(self.path, "s", most=999)
        titles = [_plain(one.title) for one in answers if one.kind == "series"]
        assert sorted(titles) == sorted(row["title"] for row in rows)


def _plain(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "")


@pytest.fixture
async def world(
    database: str, connection: asyncpg.Connection, client: Redis, redis: Redis, tmp_path: Path
) -> AsyncIterator[World]:
    path = tmp_path / "search.db"
    async with AsyncExitStack() as opened:
        service = await opened.enter_async_context(whole(database, connection))
        pool = await opened.enter_async_context(outbox_pool(database))
        index = await opened.enter_async_context(SearchIndex.opened(path))
        snapshots = await opened.enter_async_context(SnapshotClient(service.address, TOKEN))
        publisher = OnePass(pool, client)
        yield World(service, publisher, redis, index, path, snapshots, [])


async def test_a_category_s_new_name_reaches_every_episode(world: World) -> None:
    async with world.search_service() as member:
        made = await member.sees(GroupMade)
        assert made.position == world.syncs[0][0]
        assert len(world.found("drama")) == 1 + 9

        await world.connection.execute(_RENAME)
        await world.move_on()
        await world.level(member)

    assert world.found("drama") == []
    assert world.found("thriller") == sorted(["s1", *(f"e{number}" for number in range(1, 10))])


async def test_nothing_is_missed_between_snapshot_and_stream_while_writers_write(
    world: World, connect: Connect
) -> None:
    async def write(number: int, connection: asyncpg.Connection) -> None:
        for turn in range(40):
            await connection.execute(_ADD, f"s-{number}-{turn}")
            await connection.execute(_RETITLE, f"s-{number}-{turn // 2}")

    async def has_begun() -> bool:
        return bool(await world.redis.xlen(STREAM) > 60)

    async with AsyncExitStack() as at_the_end:
        async with world.moving_on(), asyncio.TaskGroup() as writing:
            for number in range(3):
                writing.create_task(write(number, await connect()))
            await eventually(has_begun)
            member = await at_the_end.enter_async_context(world.search_service())
            made = await member.sees(GroupMade)
        await world.move_on()
        await world.level(member)
        last = (await world.redis.xinfo_stream(STREAM))["last-generated-id"]
        assert str(made.position) not in ("0-0", last)
    await world.assert_exact()


async def test_what_was_trimmed_unread_is_fetched(world: World) -> None:
    async with world.search_service() as member:
        await member.sees(GroupMade)
    await world.connection.execute(_ADD, "s-trimmed")
    await world.connection.execute("DELETE FROM catalog.episode WHERE slug = 'e1'")
    await world.move_on()
    await world.redis.xtrim(STREAM, maxlen=0, approximate=False)
    await world.connection.execute(_ADD, "s-there")
    await world.move_on()

    async with world.search_service() as member:
        await member.sees(GapHealed)
        await world.level(member)
    await world.assert_exact()
    assert world.found("episode") == [f"e{number}" for number in range(2, 10)]


async def test_a_consumer_of_events_is_mended_from_the_last_one_that_it_handled(
    world: World,
) -> None:
    first = SnapshotFirst(world.client, world.index, observe=world.syncs.append)
    began = await first.start(Group(STREAM, "score"))
    await world.connection.execute(_ADD, "s-new")
    await world.move_on()

    healed = await first.heal(Gap(STREAM, after=began, first=None))

    assert healed > began
    await world.assert_exact()
    assert [one[1:3] for one in world.syncs] == [(10, 0), (1, 0)]


async def test_an_index_that_has_the_event_already_does_not_fetch_it_again(world: World) -> None:
    async with world.search_service() as member:
        await member.sees(GroupMade)
        await world.connection.execute(_ADD, "s-new")
        await world.move_on()
        await world.level(member)
    fetched = len(world.syncs)
    await world.redis.xgroup_setid(STREAM, "search", "0-0")

    async with world.search_service() as member:
        await member.until(lambda: bool(member.of(Handled)))
    assert len(world.syncs) == fetched
