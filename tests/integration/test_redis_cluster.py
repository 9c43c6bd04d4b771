"""Streams in a cluster: each in its slot, wherever that is at the moment."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from appending import as_entries, batch, client_of, deliver, failure_of
from clustering import Cluster, cluster_of_three
from publishing import entries
from redis.asyncio import Redis
from redis_servers import free_port

from outbox.batch import Batch
from outbox.position import ORIGIN
from publisher.settings import Settings
from publisher.store.keys import epoch_key
from publisher.store.server_check import check_server
from publisher.store.stream import EventStream
from publisher.survey.view import look

BATCHES = [batch((ms, 0, 3)) for ms in range(5, 105)]
FIRST, SECOND, *_ = BATCHES
ALL = [event for each in BATCHES for event in each]


def keys_of(partitions: int) -> list[str]:
    variables = {
        "DATABASE_URL": "postgresql://",
        "REDIS_URL": "redis+cluster://somewhere",
        "CATALOG_EVENT_STREAM_PARTITIONS": str(partitions),
    }
    return Settings.from_environment(variables).stream_keys


KEYS = keys_of(4)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/operations.md"
KEY = KEYS[0]


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of_three(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def cluster(formed: Cluster) -> Cluster:
    """Without a key or a script."""
    await formed.clear(*KEYS)
    return formed


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[Redis]:
    async with client_of(f"{cluster.url}?socket_timeout=5") as client:
        yield client


@pytest.mark.parametrize("partitions", [1, 4])
async def test_every_partition_has_its_stream_in_its_slot(
    cluster: Cluster, redis: Redis, partitions: int
) -> None:
    keys = keys_of(partitions)
    assert (
        await asyncio.gather(*(deliver(EventStream(redis, key), BATCHES) for key in keys))
        == [[]] * partitions
    )
    for key in keys:
        assert await entries(redis, key) == as_entries(ALL)
        assert await EventStream(redis, key).top() == BATCHES[-1].last
        assert (await EventStream(redis, key).overview()).length == len(ALL)
        assert (await look(redis, key)).length == len(ALL)
    owners = {(await cluster.owner(key)).port for key in keys}
    assert len(owners) == min(partitions, 3)


async def test_one_node_that_is_up_is_enough_to_find_the_others(cluster: Cluster) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.nodes[0].port}"
    async with client_of(url) as redis:
        for key in KEYS:
            await EventStream(redis, key).append(FIRST, after=ORIGIN)


async def test_a_cluster_that_is_away_is_waited_for() -> None:
    async with client_of(f"redis+cluster://127.0.0.1:{free_port()}") as redis:
        for _ in range(2):
            assert await failure_of(EventStream(redis, KEY).append(FIRST, after=ORIGIN)) == "away"


async def test_a_cluster_does_not_know_a_stranger(cluster: Cluster) -> None:
    async with client_of(cluster.url_of("nobody:wrong")) as redis:
        stream = EventStream(redis, KEY)
        assert await failure_of(stream.append(FIRST, after=ORIGIN)) == "WRONGPASS"


async def test_the_rights_that_are_documented_are_enough(cluster: Cluster) -> None:
    text = DOCUMENT.read_text("utf-8")
    [rules] = re.findall(r"^ACL SETUSER catalog-publisher on >… (.*)$", text, re.MULTILINE)
    [more] = re.findall(r"A cluster's client also needs `(.*)`", text)
    for node in cluster.nodes:
        words = ["on", ">secret", *rules.split(), *more.split()]
        await node.say("ACL", "SETUSER", "publisher", "reset", *words)
    async with client_of(cluster.url_of("publisher:secret")) as redis:
        assert {one.name for one in await check_server(redis, KEYS)} == {"memory", "persistence"}
        for key in KEYS:
            await deliver(EventStream(redis, key), [FIRST, SECOND])
        source, target = await cluster.owner(KEY), await cluster.other(KEY)
        await EventStream(redis, KEY).append(SECOND, after=FIRST.last, epoch=1)
        await cluster.begin_to_move(KEY, source, target)
        await cluster.move_keys(source, target, KEY, epoch_key(KEY))
        assert await EventStream(redis, KEY).top() == SECOND.last
        await cluster.end_move(KEY, source, target)


async def test_scripts_that_one_node_forgot_are_loaded_again(
    cluster: Cluster, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(FIRST, after=ORIGIN)
    await (await cluster.owner(KEY)).say("SCRIPT", "FLUSH")
    await stream.append(SECOND, after=FIRST.last)


async def test_a_stream_whose_slot_moves_to_and_fro_meanwhile_is_complete(
    cluster: Cluster, redis: Redis
) -> None:
    stream, twice = EventStream(redis, KEY), asyncio.Event()

    async def delivered() -> None:
        await deliver(stream, BATCHES[: len(BATCHES) // 2])
        # However fast that was: the rest comes while the slot is under way again.
        await twice.wait()
        await deliver(stream, BATCHES)

    delivering = asyncio.create_task(delivered())
    moves = 0
    while not delivering.done():
        source, target = await cluster.owner(KEY), await cluster.other(KEY)
        await cluster.begin_to_move(KEY, source, target)
        await cluster.move_keys(source, target, epoch_key(KEY))
        await cluster.move_keys(source, target, KEY)
        await cluster.end_move(KEY, source, target)
        moves += 1
        if moves > 1:
            twice.set()
    await delivering
    assert moves > 1
    assert await entries(redis, KEY) == as_entries(ALL)


@pytest.mark.parametrize("connections", [1, 2])
async def test_at_every_step_of_a_move_an_append_is_made_or_refused_by_name(
    cluster: Cluster, redis: Redis, connections: int
) -> None:
    stream, made = EventStream(redis, KEY), list[Batch]()
    source, target = await cluster.owner(KEY), await cluster.other(KEY)

    async def append() -> str:
        batch = BATCHES[len(made)]
        said = await failure_of(stream.append(batch, after=made[-1].last if made else ORIGIN))
        if said == "nothing":
            made.append(batch)
        return said

    assert await append() == "nothing"
    # redis-py says ASKING on one connection, and may go on with another.
    [there, *_] = [key for key in KEYS if await cluster.owner(key) is target]
    await asyncio.gather(*(redis.exists(there) for _ in range(connections)))
    await redis.set(epoch_key(KEY), "0")
    await cluster.begin_to_move(KEY, source, target)
    assert await append() == "nothing"
    await cluster.move_keys(source, target, epoch_key(KEY))
    assert await append() == "TRYAGAIN"
    await cluster.move_keys(source, target, KEY)
    assert await append() in (["nothing"] if connections == 1 else ["nothing", "TRYAGAIN"])
    await cluster.end_move(KEY, source, target)
    assert await append() == "nothing"
    assert await entries(redis, KEY) == as_entries(event for batch in made for event in batch)


async def test_a_node_that_the_client_has_not_heard_of_is_found(
    cluster: Cluster, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(FIRST, after=ORIGIN, epoch=1)
    source, target = await cluster.owner(KEY), await cluster.other(KEY)
    await cluster.begin_to_move(KEY, source, target)
    await cluster.move_keys(source, target, KEY, epoch_key(KEY))
    raw: Any = redis
    forgotten = raw.nodes_manager.nodes_cache.pop(f"127.0.0.1:{target.port}")
    await forgotten.disconnect()
    appending = stream.append(SECOND, after=FIRST.last, epoch=1)
    assert await failure_of(appending) == "CLUSTERDOWN"
    await stream.append(SECOND, after=FIRST.last, epoch=1)
    await cluster.end_move(KEY, source, target)
    assert await entries(redis, KEY) == as_entries([*FIRST, *SECOND])


async def test_a_slot_that_nobody_has_is_waited_for(cluster: Cluster, redis: Redis) -> None:
    stream, owner = EventStream(redis, KEY), await cluster.owner(KEY)
    await stream.append(FIRST, after=ORIGIN)
    for node in cluster.nodes:
        await node.say("CLUSTER", "DELSLOTS", cluster.slot(KEY))
    for _ in range(3):
        assert await failure_of(stream.append(SECOND, after=FIRST.last)) == "CLUSTERDOWN"
    for node in cluster.nodes:
        await cluster.give(KEY, node, owner)
    await deliver(stream, [FIRST, SECOND])
    assert await entries(redis, KEY) == as_entries([*FIRST, *SECOND])


async def test_a_killed_node_holds_up_its_own_streams_alone(cluster: Cluster, redis: Redis) -> None:
    # It has slot 0: a client asks it for more than its streams.
    killed = cluster.nodes[0]
    owners = {key: await cluster.owner(key) for key in keys_of(16)}
    held_up = next(key for key, owner in owners.items() if owner is killed)
    others = [
        next(key for key, owner in owners.items() if owner is node)
        for node in cluster.nodes
        if node is not killed
    ]
    for key in (held_up, *others):
        await EventStream(redis, key).append(FIRST, after=ORIGIN)
    await asyncio.to_thread(killed.server.kill)
    async with client_of(cluster.url) as new:
        for client in (redis, new):
            for key in others:
                await deliver(EventStream(client, key), BATCHES)
            appending = EventStream(client, held_up).append(SECOND, after=FIRST.last)
            assert await failure_of(appending) == "away"
    await asyncio.to_thread(killed.server.start)
    # It kept nothing: what it had is put back with the rest.
    await deliver(EventStream(redis, held_up), BATCHES)
    for key in (held_up, *others):
        assert await entries(redis, key) == as_entries(ALL)


async def test_a_node_taken_for_a_single_server_says_where_else_to_go(cluster: Cluster) -> None:
    node = await cluster.other(KEY)
    async with client_of(f"redis://127.0.0.1:{node.port}") as redis:
        appending = EventStream(redis, KEY).append(FIRST, after=ORIGIN)
        assert await failure_of(appending) == "MOVED"
        found = {one.name: one.sentence for one in await check_server(redis, [KEY])}
    assert "redis+cluster://" in found["cluster"]
    assert "MOVED" in found["moved"]


async def test_the_check_asks_every_node_and_finds_nothing_wrong(
    cluster: Cluster, redis: Redis
) -> None:
    found = {one.name: one.sentence for one in await check_server(redis, KEYS)}
    assert found.keys() == {"memory", "persistence"}
    for node in cluster.nodes:
        assert f"127.0.0.1:{node.port}" in found["memory"]
