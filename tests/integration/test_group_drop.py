"""A consumer group is declared dead: shown first, asked for, and then nothing is kept for it."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from on_call import System, system_of, typed

from publisher.trim.trimmer import Trimmer
from publisher.trim.trimming import Limits


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "CATALOG_EVENT_STREAM_PARTITIONS": "2",
    }


@pytest.fixture
async def system(
    environment: dict[str, str], connection: asyncpg.Connection
) -> AsyncIterator[System]:
    """Two partitions, each with the groups `dead` (which has read nothing) and `alive`."""
    async with system_of(environment, connection) as system:
        await system.write(*(f"entity {number}" for number in range(20)))
        await system.publish()
        for key in system.settings.stream_keys:
            await system.redis.xgroup_create(key, "dead", "0")
            await system.redis.xgroup_create(key, "alive", "$")
        yield system


async def groups(system: System) -> set[str]:
    found = [await system.redis.xinfo_groups(key) for key in system.settings.stream_keys]
    return {group["name"] for of_stream in found for group in of_stream}


async def test_it_is_dropped_from_every_partition_and_the_others_stay(
    environment: dict[str, str], system: System
) -> None:
    code, out, _ = await typed(environment, "group-drop", "dead", "--yes", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["dropped"] == system.settings.stream_keys
    assert sum(group["behind"] for group in said["streams"].values()) == 20
    assert await groups(system) == {"alive"}


async def test_nothing_is_kept_for_it_any_more(environment: dict[str, str], system: System) -> None:
    key = system.settings.stream_keys[0]
    top = (await system.redis.xinfo_stream(key))["last-generated-id"]
    later_s = int(top.split("-")[0]) / 1000 + 60
    trim = Trimmer(system.redis, key, Limits(1000, 10**9), clock=lambda: later_s).trim
    assert (await trim()).held_by == ("dead",)
    await typed(environment, "group-drop", "dead", "--yes")
    assert (await trim()).removed > 0
    assert await system.redis.xlen(key) == 0


async def test_where_nobody_can_be_asked_it_shows_what_it_would_drop_and_does_nothing(
    environment: dict[str, str], system: System
) -> None:
    code, out, err = await typed(environment, "group-drop", "dead")
    assert code == 1
    assert all(key in out for key in system.settings.stream_keys)
    assert "--yes" in err
    assert await groups(system) == {"dead", "alive"}


async def test_a_dry_run_only_shows(environment: dict[str, str], system: System) -> None:
    code, out, err = await typed(environment, "group-drop", "dead", "--dry-run", "--yes")
    assert code == 0
    assert all(key in out for key in system.settings.stream_keys)
    assert "Nothing was dropped" in err
    assert await groups(system) == {"dead", "alive"}


async def test_one_whose_consumers_were_just_seen_is_warned_of(
    environment: dict[str, str], system: System
) -> None:
    key = system.settings.stream_keys[0]
    await system.redis.xreadgroup("alive", "one", {key: ">"})
    _, _, err = await typed(environment, "group-drop", "alive", "--dry-run")
    assert "NOGROUP" in err
    _, _, err = await typed(environment, "group-drop", "dead", "--dry-run")
    assert "NOGROUP" not in err


async def test_a_group_that_there_is_not_is_said_with_those_that_there_are(
    environment: dict[str, str], system: System
) -> None:
    code, _, err = await typed(environment, "group-drop", "daed", "--yes")
    assert code == 1
    assert "alive, dead" in err
    assert await groups(system) == {"dead", "alive"}
