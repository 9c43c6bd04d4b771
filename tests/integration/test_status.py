"""The way from commit to consumer, on one screen and as JSON."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from on_call import ROOT, System, system_of, typed
from publishing import KEY, entries, write
from servers import Connect

from outbox.position import Position

HOUR_S = 3600.0


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url, "STREAM_MAX_MEMORY_MB": "1"}


@pytest.fixture
async def system(
    environment: dict[str, str], connection: asyncpg.Connection
) -> AsyncIterator[System]:
    async with system_of(environment, connection) as system:
        yield system


@pytest.fixture
async def partitioned(
    environment: dict[str, str], connection: asyncpg.Connection
) -> AsyncIterator[System]:
    """The same with three partitions."""
    shared = environment | {"CATALOG_EVENT_STREAM_PARTITIONS": "3"}
    async with system_of(shared, connection) as system:
        yield system


async def test_an_empty_system_is_fine(system: System) -> None:
    status = await system.look()
    [stream] = status.streams
    assert (status.backlog, status.committed_total, stream.length) == (0, 0, 0)
    assert (status.away, status.problems) == ({}, [])


async def test_the_backlog_counts_what_is_in_a_tick_and_what_is_in_none(system: System) -> None:
    await system.write("a", "b")
    await system.publish()
    await system.write("c")
    await system.connection.execute("SELECT outbox.make_tick()")
    await system.write("d", "e")
    status = await system.look()
    [stream] = status.streams
    assert (status.backlog, status.backlog_exact, status.committed_total) == (3, True, 5)
    assert (stream.backlog, stream.length) == (1, 2)
    assert status.oldest_unpublished_s is not None
    assert 0 <= status.oldest_unpublished_s < 20
    aged = (await system.look(later_s=20)).oldest_unpublished_s
    assert aged is not None
    assert aged > 20


async def test_what_commits_after_it_was_under_way_at_the_last_tick_is_backlog(
    connect: Connect, system: System
) -> None:
    slow = await connect()
    async with slow.transaction():
        await write(slow, "slow")
        await system.write("quick")
        await system.publish()
        assert (await system.look()).backlog == 0
    assert (await system.look()).backlog == 1


async def test_a_groups_distance_is_counted_in_events(system: System) -> None:
    await system.write("a", "b", "c")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    await system.redis.xreadgroup("search", "one", {KEY: ">"}, count=2)
    await system.write("d")
    group = await system.group(later_s=30)
    assert (group.name, group.behind, group.behind_exact) == ("search", 2, True)
    assert (group.pending, group.fell_off, group.gone, group.consumers) == (2, 0, 0, 1)
    assert group.unread_s is not None
    assert group.unacknowledged_s is not None
    assert 60 > group.unacknowledged_s >= group.unread_s >= 30
    assert group.last_seen_s is not None


async def test_a_group_that_is_level_is_behind_nothing(system: System) -> None:
    await system.write("a", "b")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "$")
    await system.redis.xtrim(KEY, maxlen=0, approximate=False)
    group = await system.group()
    assert (group.behind, group.fell_off, group.unread_s, group.unacknowledged_s) == (
        *(0, 0),
        *(None, None),
    )


async def test_a_group_that_fell_off_the_stream_is_told_from_one_that_is_behind(
    system: System,
) -> None:
    await system.write(*"abcdef")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    await system.redis.xreadgroup("search", "one", {KEY: ">"}, count=1, noack=True)
    await system.redis.xtrim(KEY, maxlen=2, approximate=False)
    [problem] = (await system.look()).problems
    group = await system.group()
    assert (group.behind, group.fell_off) == (5, 3)
    assert "search" in problem
    await system.redis.xtrim(KEY, maxlen=0, approximate=False)
    assert (await system.group()).fell_off == 5


async def test_a_dead_letter_before_the_stream_begins_was_not_missed(system: System) -> None:
    await system.write("a", "b", "c")
    await system.publish()
    (a, _), (b, _), _ = await entries(system.redis)
    await system.redis.xgroup_create(KEY, "search", a)
    await system.redis.xtrim(KEY, maxlen=1, approximate=False)
    assert (await system.group()).fell_off == 1
    at = Position.parse(b)
    await system.connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts)"
        " VALUES ($1, $2, $3, now(), 'series', 'b', 'update', '{}', 'too large', 5)",
        *(at.ms, at.seq, KEY),
    )
    assert (await system.group()).fell_off == 0


async def test_what_was_trimmed_before_it_was_acknowledged_is_said(system: System) -> None:
    await system.write(*"abcdef")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    await system.redis.xreadgroup("search", "one", {KEY: ">"})
    await system.redis.xtrim(KEY, maxlen=2, approximate=False)
    [problem] = (await system.look()).problems
    group = await system.group()
    assert (group.pending, group.gone, group.fell_off) == (6, 4, 0)
    assert "not acknowledged 4 entries" in problem


async def test_it_says_when_a_slow_groups_budget_will_be_spent(system: System) -> None:
    await write(system.connection, "a", 1200)
    await system.publish()
    await system.redis.xgroup_create(KEY, "slow", "0")
    [stream] = (await system.look()).streams
    assert stream.entries_per_s == pytest.approx(2.0)
    assert stream.entries_bytes is not None
    left_bytes = stream.budget_bytes - stream.entries_bytes
    group = await system.group(later_s=120)
    assert group.budget_left_h == pytest.approx(
        left_bytes / (2.0 * stream.entries_bytes / 1200) / HOUR_S, rel=0.01
    )
    [problem] = (await system.look(later_s=120)).problems
    assert "group slow" in problem
    assert "memory budget" in problem


@pytest.mark.parametrize(
    ("read", "later_s"), [(0, 30.0), (1200, 120.0), (0, 900.0)], ids=["near", "level", "no growth"]
)
async def test_a_budget_that_will_not_be_spent_is_not_forecast(
    system: System, read: int, later_s: float
) -> None:
    await write(system.connection, "a", 1200)
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    if read:
        await system.redis.xreadgroup("search", "one", {KEY: ">"}, count=read, noack=True)
    assert (await system.group(later_s=later_s)).budget_left_h is None


async def test_an_old_backlog_is_a_problem(system: System) -> None:
    await system.write("a")
    assert (await system.look(later_s=20)).problems == []
    await system.connection.execute("UPDATE outbox.event SET at = at - interval '40 s'")
    [problem] = (await system.look()).problems
    assert "oldest unpublished event has waited 40 s" in problem


async def test_distances_in_a_partition_count_only_what_is_in_it(partitioned: System) -> None:
    names = [f"entity {number}" for number in range(60)]
    await partitioned.write(*names)
    await partitioned.publish()
    keys = partitioned.settings.stream_keys
    for key in keys:
        await partitioned.redis.xgroup_create(key, "search", "0")
        await partitioned.redis.xreadgroup("search", "one", {key: ">"}, count=5, noack=True)
    lengths = {key: await partitioned.redis.xlen(key) for key in keys}
    assert sum(lengths.values()) == 60
    status = await partitioned.look()
    for stream in status.streams:
        [group] = stream.groups
        assert (group.behind, group.behind_exact) == (lengths[stream.key] - 5, True)
        assert (group.fell_off, group.fell_off_exact) == (0, True)
    assert (status.backlog, status.backlog_exact, status.problems) == (0, True, [])


async def test_in_a_partition_a_gap_of_other_partitions_events_is_no_loss(
    partitioned: System,
) -> None:
    await partitioned.write(*(f"entity {number}" for number in range(60)))
    await partitioned.publish()
    for key in partitioned.settings.stream_keys:
        ids = [id_ for id_, _ in await entries(partitioned.redis, key)]
        await partitioned.redis.xgroup_create(key, "level", ids[6])
        await partitioned.redis.xgroup_create(key, "fell off", ids[3])
        await partitioned.redis.xtrim(key, minid=ids[7], approximate=False)
    status = await partitioned.look()
    fell_off = {(group.name, group.fell_off) for one in status.streams for group in one.groups}
    assert fell_off == {("level", 0), ("fell off", 3)}
    [problem] = status.problems
    assert "group fell off has missed 9 events" in problem


async def test_many_events_of_a_partition_are_estimated_and_marked(partitioned: System) -> None:
    names = [f"entity {number}" for number in range(1500)]
    async with partitioned.connection.transaction():
        await partitioned.write(*names)
    status = await partitioned.look()
    assert (status.backlog, status.backlog_exact) == (1500, True)  # In no tick yet.
    await partitioned.connection.execute("SELECT outbox.make_tick()")
    status = await partitioned.look()
    assert (status.backlog, status.backlog_exact) == (1500, False)
    assert [stream.backlog for stream in status.streams] == [500, 500, 500]
    await partitioned.publish()
    lengths = {}
    for key in partitioned.settings.stream_keys:
        lengths[key] = await partitioned.redis.xlen(key)
        await partitioned.redis.xgroup_create(key, "search", "0")
    for stream in (await partitioned.look()).streams:
        [group] = stream.groups
        assert (group.behind, group.behind_exact) == (lengths[stream.key], False)
        await partitioned.redis.xtrim(stream.key, maxlen=10, approximate=False)
    for stream in (await partitioned.look()).streams:
        [group] = stream.groups
        assert not group.behind_exact
        assert not group.fell_off_exact
        assert group.behind == pytest.approx(lengths[stream.key], rel=0.1)
        assert group.fell_off == pytest.approx(lengths[stream.key] - 10, rel=0.1)


async def test_a_partition_without_new_events_has_no_backlog_however_many_others_had(
    partitioned: System,
) -> None:
    await partitioned.write(*(f"entity {number}" for number in range(60)))
    await partitioned.publish()
    key = partitioned.settings.stream_keys[0]
    [(_, fields)] = await partitioned.redis.xrange(key, count=1)
    await write(partitioned.connection, fields["entityId"], 1000)
    await partitioned.publish()
    status = await partitioned.look()
    assert [stream.backlog for stream in status.streams] == [0, 0, 0]


async def check_in(system: System, key: str, position: str, end: str) -> None:
    """Leave a checkpoint as a publisher does."""
    at, ended = Position.parse(position), Position.parse(end)
    await system.connection.execute(
        "INSERT INTO outbox.checkpoint (name, ms, seq, end_ms, end_seq)"
        " VALUES ($1, $2, $3, $4, $5)",
        *(key, at.ms, at.seq, ended.ms, ended.seq),
    )


async def test_behind_its_checkpoint_a_stream_that_is_whole_has_no_backlog(system: System) -> None:
    await system.write("a", "b")
    await system.publish()
    (a, fields), (b, _) = await entries(system.redis)
    # As if b were a dead letter: it has a number, and no entry.
    await system.redis.delete(KEY)
    await system.redis.xadd(KEY, fields, id=a)
    await system.redis.xgroup_create(KEY, "level", a)
    assert (await system.look()).backlog == 1
    await check_in(system, KEY, b, a)
    assert (await system.look()).backlog == 0
    assert (await system.group()).behind == 0


async def test_what_a_stream_has_lost_is_backlog_again(system: System) -> None:
    await system.write("a", "b")
    await system.publish()
    _, (b, _) = await entries(system.redis)
    await check_in(system, KEY, b, b)
    assert (await system.look()).backlog == 0
    await system.redis.delete(KEY)
    status = await system.look()
    assert (status.backlog, status.streams[0].checkpoint) == (2, b)


async def test_before_the_oldest_tick_that_is_kept_nothing_is_counted(system: System) -> None:
    await system.write(*"abc")
    await system.publish()
    await system.write(*"de")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    await system.connection.execute("DELETE FROM outbox.tick WHERE total_before = 0")
    assert (await system.group()).behind == 2


async def test_what_holds_xmin_is_named(
    connection: asyncpg.Connection, connect: Connect, system: System
) -> None:
    preparing = await connect()
    name = await connection.fetchval("SELECT current_database()")
    await preparing.execute("BEGIN")
    await write(preparing, "prepared")
    await preparing.execute(f"PREPARE TRANSACTION '{name}'")
    try:
        [holder] = (await system.look()).xmin_held_by
        assert (holder.kind, holder.name) == ("prepared transaction", name)
    finally:
        await preparing.execute(f"ROLLBACK PREPARED '{name}'")


async def test_the_command_prints_json_and_ends_with_0(
    environment: dict[str, str], system: System
) -> None:
    await system.write("a")
    code, out, _ = await typed(environment, "status", "--json")
    status: dict[str, Any] = json.loads(out)
    assert (code, status["backlog"], status["problems"], status["away"]) == (0, 1, [], {})
    assert await system.redis.exists(KEY) == 0  # It only looks.


async def test_a_degraded_system_ends_with_3_and_says_why(
    environment: dict[str, str], system: System
) -> None:
    await system.write(*"abc")
    await system.publish()
    await system.redis.xgroup_create(KEY, "late", str(Position(1, 0)))
    await system.redis.xtrim(KEY, maxlen=1, approximate=False)
    code, out, _ = await typed(environment, "status")
    assert code == 3
    assert "group late has missed 2 events" in " ".join(out.split())


def nobody(tmp_path: Path, which: str) -> dict[str, str]:
    """The address of a server that is not there."""
    return {
        "postgresql": {"DATABASE_URL": f"postgresql://nobody:hunter2@/none?host={tmp_path}"},
        "redis": {"REDIS_URL": f"unix://:hunter2@{tmp_path}/none.sock"},
    }[which]


async def test_while_redis_is_away_it_says_what_postgresql_knows(
    environment: dict[str, str], system: System, tmp_path: Path
) -> None:
    await system.write("published")
    await system.publish()
    [(published, _)] = await entries(system.redis)
    await check_in(system, KEY, published, published)
    await system.write("a", "b")
    without = environment | nobody(tmp_path, "redis")
    code, out, _ = await typed(without, "status", "--json")
    status: dict[str, Any] = json.loads(out)
    assert code == 4
    assert list(status["away"]) == ["redis"]
    assert (status["backlog"], status["committed_total"]) == (2, 3)
    [stream] = status["streams"]
    assert (stream["key"], stream["length"], stream["groups"]) == (KEY, None, [])
    code, out, err = await typed(without, "status")
    assert code == 4
    assert "at most 2 events" in out
    assert "Redis is away" in err
    assert "hunter2" not in out + err


async def test_while_postgresql_is_away_it_says_what_redis_knows(
    environment: dict[str, str], system: System, tmp_path: Path
) -> None:
    await system.write("a", "b")
    await system.publish()
    await system.redis.xgroup_create(KEY, "search", "0")
    without = environment | nobody(tmp_path, "postgresql")
    code, out, _ = await typed(without, "status", "--json")
    status: dict[str, Any] = json.loads(out)
    assert code == 4
    assert list(status["away"]) == ["postgresql"]
    assert (status["backlog"], status["committed_total"]) == (None, None)
    [stream] = status["streams"]
    [group] = stream["groups"]
    assert (stream["length"], group["name"], group["behind"]) == (2, "search", None)
    code, out, err = await typed(without, "status")
    assert code == 4
    assert "search" in out
    assert "PostgreSQL is away" in err
    assert "hunter2" not in out + err


async def test_it_watches_until_it_is_interrupted(
    environment: dict[str, str], system: System
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "publisher", "status", "--watch", "--json"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        before = json.loads(await process.stdout.readline())
        await system.write("a")
        after = before
        while not after["backlog"]:
            after = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert (before["backlog"], after["backlog"]) == (0, 1)


async def test_a_missing_variable_is_wrong_usage(database: str) -> None:
    code, _, err = await typed({"DATABASE_URL": database}, "status")
    assert code == 2
    assert "REDIS_URL is not set" in err


async def test_a_database_without_the_outbox_says_what_to_do(
    empty_database: str, redis_url: str
) -> None:
    without = {"DATABASE_URL": empty_database, "REDIS_URL": redis_url}
    code, _, err = await typed(without, "status")
    assert code == 1
    assert "schema.sql" in err
