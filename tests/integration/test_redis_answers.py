"""Whatever Redis answers: nothing is skipped, the reason has a name, and it goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from appending import as_entries, batch, client_of, failure_of
from publishing import KEY, entries, eventually
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis_servers import IN_MEMORY, Flavour, running

from embedded.valkey import Valkey
from outbox.errors import StreamRefused
from outbox.position import ORIGIN
from publisher.store.stream import EventStream

FIRST, SECOND = batch((5, 0, 3)), batch((5, 3, 2), (6, 0, 1))
BOTH = [*FIRST, *SECOND]

# redis-py's types follow its settings, and it has none for some commands.
Admin = Any
Cause = Callable[[Valkey, Admin], AbstractAsyncContextManager[None]]


@pytest.fixture
async def admin(each_redis_url: str) -> AsyncIterator[Admin]:
    """Another client, to cause the trouble with."""
    async with Redis.from_url(each_redis_url, decode_responses=True) as admin:
        yield admin


@pytest.fixture
async def stream(each_redis_url: str) -> AsyncIterator[EventStream]:
    async with client_of(each_redis_url) as client:
        yield EventStream(client, KEY)


@asynccontextmanager
async def configured(admin: Admin, **settings: str) -> AsyncIterator[None]:
    before = await admin.config_get(*(name.replace("_", "-") for name in settings))
    for name, value in settings.items():
        await admin.config_set(name.replace("_", "-"), value)
    try:
        yield
    finally:
        for name, value in before.items():
            await admin.config_set(name, value)


@asynccontextmanager
async def full(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, maxmemory="1"):
        yield


@asynccontextmanager
async def a_replica(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        await admin.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def a_replica_that_shows_nothing(server: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, replica_serve_stale_data="no"), a_replica(server, admin):
        yield


@asynccontextmanager
async def without_enough_replicas(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, min_replicas_to_write="1"):
        yield


@asynccontextmanager
async def unable_to_save(server: Valkey, admin: Admin) -> AsyncIterator[None]:
    # A folder where the file should go: root may write everywhere else.
    in_the_way = server.home / "dump.rdb" / "x"
    in_the_way.mkdir(parents=True)
    async with configured(admin, save="3600 1"):
        assert await saved(admin) == "err"
        try:
            yield
        finally:
            in_the_way.rmdir()
            in_the_way.parent.rmdir()
            assert await saved(admin) == "ok"
            # The server is used by others, who have it forget by killing it.
            (server.home / "dump.rdb").unlink()


async def saved(admin: Admin) -> str:
    """What became of a save."""
    await admin.bgsave()

    async def ended() -> bool:
        return not (await admin.info("persistence"))["rdb_bgsave_in_progress"]

    await eventually(ended)
    status: str = (await admin.info("persistence"))["rdb_last_bgsave_status"]
    return status


@asynccontextmanager
async def running_a_script_without_an_end(server: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, lua_time_limit="1"), Redis.from_url(server.url) as other:
        script = asyncio.create_task(never_ending(other))
        await eventually(lambda: answers(admin, "BUSY"))
        try:
            yield
        finally:
            await admin.script_kill()
            with pytest.raises(ResponseError):
                await script


async def never_ending(admin: Admin) -> None:
    await admin.eval("while true do end", 0)


async def answers(admin: Admin, word: str) -> bool:
    try:
        await admin.ping()
    except RedisError as exc:
        return str(exc).startswith(word)
    return False


@asynccontextmanager
async def without_the_right(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    await admin.execute_command("ACL", "SETUSER", "default", "-xadd")
    try:
        yield
    finally:
        await admin.execute_command("ACL", "SETUSER", "default", "+@all")


@asynccontextmanager
async def with_a_new_password(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, requirepass="new"):
        await hang_up(admin)
        yield


@asynccontextmanager
async def with_another_type_at_the_key(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    await admin.rename(KEY, "aside")
    await admin.set(KEY, "mine")
    try:
        yield
    finally:
        await admin.rename("aside", KEY)


@asynccontextmanager
async def with_too_many_clients(_: Valkey, admin: Admin) -> AsyncIterator[None]:
    async with configured(admin, maxclients="1"):
        await hang_up(admin)
        yield


async def hang_up(admin: Admin) -> None:
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (full, "OOM"),
        (a_replica, "READONLY"),
        (a_replica_that_shows_nothing, "MASTERDOWN"),
        (without_enough_replicas, "NOREPLICAS"),
        (unable_to_save, "MISCONF"),
        (running_a_script_without_an_end, "BUSY"),
        (without_the_right, "NOPERM"),
        (with_a_new_password, "NOAUTH"),
        (with_another_type_at_the_key, "WRONGTYPE"),
        (with_too_many_clients, "away"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_while_redis_refuses_nothing_moves_and_then_it_goes_on(
    each_redis_server: Valkey, stream: EventStream, admin: Admin, cause: Cause, reason: str
) -> None:
    await stream.append(FIRST, after=ORIGIN)
    async with cause(each_redis_server, admin):
        for _ in range(2):
            assert await failure_of(stream.append(SECOND, after=FIRST.last)) == reason
    assert await entries(admin) == as_entries(FIRST)
    assert await stream.append(SECOND, after=FIRST.last) == (3, FIRST.last)
    assert await entries(admin) == as_entries(BOTH)


async def test_what_an_answer_says_is_told_without_the_noise_around_it(
    stream: EventStream, admin: Admin
) -> None:
    async with configured(admin, maxmemory="1"):
        with pytest.raises(StreamRefused) as refused:
            await stream.append(FIRST, after=ORIGIN)
    assert str(refused.value) == (
        "Redis refused to append: OOM command not allowed when used memory > 'maxmemory'."
    )


@pytest.mark.parametrize("flavour", Flavour)
async def test_a_server_that_loads_its_data_is_waited_for(
    tmp_path_factory: pytest.TempPathFactory, flavour: Flavour
) -> None:
    folder = tmp_path_factory.mktemp("loading")
    with running(folder, IN_MEMORY | {"rdbcompression": "no"}, flavour=flavour) as server:
        async with client_of(server.url) as client:
            await EventStream(client, KEY).append(FIRST, after=ORIGIN)
            # It looks at its clients after every 2 MB.
            await client.eval("for i = 1, 25 do redis.call('SET', i, string.rep('x', 1e6)) end", 0)
            await client.save()
    server = Valkey(folder, IN_MEMORY | {"key-load-delay": "10000"}, binary=server.binary)
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    try:
        async with client_of(server.url) as client:
            stream, seen = EventStream(client, KEY), set[str]()

            async def is_done() -> bool:
                seen.add(await failure_of(stream.append(SECOND, after=FIRST.last)))
                return "nothing" in seen

            await eventually(is_done)
            assert seen - {"away"} == {"LOADING", "nothing"}
            assert await entries(client) == as_entries(BOTH)
    finally:
        await starting
        await asyncio.to_thread(server.kill)
