"""Redis loses entries: what is missing comes back, exactly that, with the same IDs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from appending import as_entries, client_of
from lossy_redis import Loss, LossyRedis, lossy_redis
from publishing import KEY, OnePass, by_definition, entries, eventually, outbox_pool, write
from redis.asyncio import Redis
from servers import Connect
from structlog.testing import capture_logs

from outbox import checkpoints, leases
from outbox.batch import Share
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.leases import Lease, Member
from publisher.settings import Limits

GO_ON = asyncio.Event()
"""Never set."""
ENTITIES = [f"entity {n}" for n in range(30)]
MEMBER = Member("a test", "this process", "here", 1)


class Publishers:
    """One for each partition, without their loops; `restart` makes new ones."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        client: Redis,
        held: list[Lease],
        **options: Any,  # noqa: ANN401 - those of OnePass
    ) -> None:
        self._pool, self._client = pool, client
        self._held = held
        self._options = options
        self.keys = [lease.name for lease in held]
        self.all: list[OnePass] = []
        self.restart()

    def restart(self) -> None:
        """As other processes would: all that they know is in the two servers."""
        self.all = [
            OnePass(
                self._pool,
                self._client,
                key=lease.name,
                share=Share(number, len(self._held)),
                epoch=lease.epoch,
                save=partial(checkpoints.save, self._pool, lease),
                **self._options,
            )
            for number, lease in enumerate(self._held)
        ]

    async def publish(self) -> int:
        """Until nothing is left to do; how many events were moved."""
        moved = 0
        while some := sum([await one.publish(GO_ON) for one in self.all]):
            moved += some
        return moved

    async def keep_publishing(self, enough: asyncio.Event) -> None:
        """Whatever happens to Redis meanwhile."""
        while not enough.is_set():
            for one in self.all:
                with suppress(StreamUnavailable, StreamRefused):
                    await one.publish(GO_ON)
            await asyncio.sleep(0)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@asynccontextmanager
async def publishers(
    pool: asyncpg.Pool,
    url: str,
    partitions: int = 1,
    **options: Any,  # noqa: ANN401 - those of OnePass
) -> AsyncIterator[Publishers]:
    keys = [KEY] if partitions == 1 else [f"{KEY}:{{{number}}}" for number in range(partitions)]
    held = await leases.renew(pool, MEMBER, keys, {}, ttl=timedelta(hours=1))
    in_order = sorted((one.lease for one in held), key=lambda lease: lease.name)
    async with client_of(url) as client:
        yield Publishers(pool, client, in_order, **options)


async def expected(connection: asyncpg.Connection, partitions: int) -> list[Any]:
    """What each stream should hold."""
    events = as_entries(await by_definition(connection))
    numbers = await connection.fetch(
        "SELECT outbox.partition_of(id, $2) AS number FROM unnest($1::text[]) AS id",
        [fields["entityId"] for _, fields in events],
        partitions,
    )
    of = [row["number"] for row in numbers]
    return [
        [event for event, number in zip(events, of, strict=True) if number == wanted]
        for wanted in range(partitions)
    ]


async def held(url: str, keys: list[str]) -> list[Any]:
    """What each stream does hold."""
    async with Redis.from_url(url) as redis:
        return [await entries(redis, key) for key in keys]


async def write_some(connection: asyncpg.Connection, count: int) -> None:
    for n in range(count):
        await write(connection, ENTITIES[n % len(ENTITIES)], 1 + n % 3)


async def keep_writing(connection: asyncpg.Connection, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await write_some(connection, 3)
        await asyncio.sleep(0.005)


def said(logs: Any, event: str) -> list[dict[str, Any]]:  # noqa: ANN401 - structlog's
    return [line for line in logs if line["event"] == event]


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("loss", list(Loss))
async def test_what_an_idle_stream_lost_comes_back_with_the_same_ids(  # noqa: PLR0913
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tmp_path: Path,
    loss: Loss,
    *,
    restarted: bool,
    partitions: int,
) -> None:
    async with (
        lossy_redis(loss, tmp_path) as redis,
        publishers(pool, redis.url, partitions) as all_of_them,
    ):
        await write_some(connection, 30)
        await all_of_them.publish()
        await redis.save()
        saved = await held(redis.server_url, all_of_them.keys)
        await write_some(connection, 20)
        await all_of_them.publish()
        before = await held(redis.server_url, all_of_them.keys)
        assert before == await expected(connection, partitions)

        await redis.lose(*all_of_them.keys)
        kept = saved if loss.keeps_what_was_saved else [[]] * partitions
        assert await held(redis.server_url, all_of_them.keys) == kept
        if restarted:
            all_of_them.restart()
        with capture_logs() as logs:
            # The connection that the loss has cut is noticed by its first use.
            with suppress(StreamUnavailable):
                await all_of_them.publish()
            await all_of_them.publish()
        assert await held(redis.server_url, all_of_them.keys) == before
        lost = said(logs, "stream.lost")
        assert [line["stream"] for line in lost] == all_of_them.keys
        for line, kept_here, was in zip(lost, kept, before, strict=True):
            assert line["end"] == (kept_here[-1][0] if kept_here else "0-0")
            assert line["after"] == line["end"]
            assert line["until"] >= was[-1][0]
            assert line["beyond_retention"] == 0
            if partitions == 1:
                assert line["until"] == was[-1][0]
                assert line["events"] == len(was) - len(kept_here)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("loss", list(Loss))
async def test_what_a_busy_stream_lost_comes_back_among_what_is_new(  # noqa: PLR0913
    connect: Connect,
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tmp_path: Path,
    loss: Loss,
    *,
    restarted: bool,
    partitions: int,
) -> None:
    writers = [await connect() for _ in range(3)]
    async with (
        lossy_redis(loss, tmp_path) as redis,
        publishers(pool, redis.url, partitions, limits=Limits(batch_size=7)) as all_of_them,
    ):
        enough = asyncio.Event()
        working = asyncio.gather(
            *(keep_writing(writer, enough) for writer in writers),
            all_of_them.keep_publishing(enough),
        )
        await at_least(redis, all_of_them.keys, 60)
        await redis.save()
        await at_least(redis, all_of_them.keys, 120)
        await redis.lose(*all_of_them.keys)
        if restarted:
            all_of_them.restart()
        await at_least(redis, all_of_them.keys, 180)
        enough.set()
        await working
        await all_of_them.publish()
        found = await held(redis.server_url, all_of_them.keys)
        assert found == await expected(connection, partitions)


async def at_least(redis: LossyRedis, keys: list[str], count: int) -> None:
    """Return when the streams hold *count* entries, all together."""
    async with Redis.from_url(redis.server_url) as client:

        async def holds_as_many() -> bool:
            return sum([await client.xlen(key) for key in keys]) >= count

        await eventually(holds_as_many, within_s=20)
