"""What status says of the processes that publish."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from on_call import System, system_of
from publishing import KEY

from outbox import control, leases
from outbox.leases import Member
from publisher.survey.status import PublishersStatus

LONG = timedelta(minutes=5)


@pytest.fixture
async def system(
    database: str, redis_url: str, connection: asyncpg.Connection
) -> AsyncIterator[System]:
    environment = {"DATABASE_URL": database, "REDIS_URL": redis_url}
    async with system_of(environment, connection) as system:
        yield system


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=0) as pool:
        yield pool


def member(name: str) -> Member:
    return Member("publisher of catalog:events/1", name, "host", 1)


async def seen(system: System) -> tuple[PublishersStatus, list[str]]:
    status = await system.look()
    assert status.publishers
    return status.publishers, status.problems


async def test_the_holder_of_a_lease_and_who_stands_by_are_told(
    system: System, pool: asyncpg.Pool
) -> None:
    await leases.renew(pool, member("a"), [KEY], {}, ttl=LONG)
    await leases.renew(pool, member("b"), [KEY], {}, ttl=LONG)
    publishers, problems = await seen(system)
    [lease] = publishers.leases
    assert (lease.stream, lease.holder, lease.epoch, lease.reason) == (KEY, "a", 1, None)
    assert 290 < (lease.expires_in_s or 0) <= 300
    assert (publishers.members, problems) == (2, [])


async def test_what_holds_a_stream_up_is_named_with_its_time(
    system: System, pool: asyncpg.Pool
) -> None:
    await leases.renew(pool, member("a"), [KEY], {}, ttl=LONG)
    await leases.renew(pool, member("a"), [KEY], {KEY: "oom"}, ttl=LONG)
    publishers, [problem] = await seen(system)
    [lease] = publishers.leases
    assert lease.reason == "oom"
    assert lease.for_s is not None
    assert problem.startswith(f"{KEY} is held up: oom, for ")
    await leases.renew(pool, member("a"), [KEY], {}, ttl=LONG)
    publishers, problems = await seen(system)
    [lease] = publishers.leases
    assert (lease.reason, lease.for_s, problems) == (None, None, [])


async def test_a_stream_that_nobody_publishes_any_more_is_a_problem(
    system: System, pool: asyncpg.Pool
) -> None:
    [held] = await leases.renew(pool, member("a"), [KEY], {}, ttl=LONG)
    await leases.release(pool, held.lease)
    _, problems = await seen(system)
    assert problems == [f"nobody publishes {KEY}: start a publisher"]
    await leases.renew(pool, member("a"), [KEY], {}, ttl=timedelta(0))
    _, problems = await seen(system)
    assert problems == [f"nobody publishes {KEY}: start a publisher"]


async def test_a_pause_is_a_problem_that_says_who_and_why(
    system: System, pool: asyncpg.Pool
) -> None:
    await control.pause(pool, by="ann@host", reason="moving Redis")
    publishers, problems = await seen(system)
    assert (publishers.paused_by, publishers.paused_reason) == ("ann@host", "moving Redis")
    assert problems == ["paused by ann@host: moving Redis; make resume goes on"]
    was = await control.resume(pool)
    assert was is not None
    assert was.reason == "moving Redis"
    assert (await seen(system))[1] == []
    assert await control.resume(pool) is None


async def test_dead_letters_that_wait_are_a_problem(
    system: System, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts) VALUES (1, 0, $1, now(), 'series', 'a', 'update', '', '', 1)",
        KEY,
    )
    publishers, problems = await seen(system)
    assert publishers.dead_letters == 1
    assert problems == ["dead letters wait: 1; see make dead-letters"]
