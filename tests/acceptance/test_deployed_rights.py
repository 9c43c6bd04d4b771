"""Every program works with the users that `deploy/` gives it, and these may do nothing else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientConnectionError, ClientSession
from deployed import CDN, Deployed, deployed
from processes import eventually
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis_servers import free_port

from consumer.reference.engagement.popularity import KEY
from consumer.reference.search.answers import search
from outbox.errors import CatalogStreamError

STREAM = "catalog:events"
OWN_NAMES = {"CONSUMER_HTTP_ADDRESS": "off"}
WRITE = """
INSERT INTO catalog.series (slug, title, status, visibility)
VALUES ('frogs', $1, 'PUBLISHED', 'PUBLIC')
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("deployed")) as world:
        yield world


def ours(world: Deployed, viewer: int, index: Path) -> ExitStack:
    """All programs."""
    snapshots = f"127.0.0.1:{free_port()}"
    started = ExitStack()
    for process, words, environment in (
        ("publisher", ["publisher"], {"PUBLISHER_HTTP_ADDRESS": "off"}),
        (
            "snapshot-server",
            ["snapshot_server"],
            {"GRPC_BIND_ADDRESS": snapshots, "SNAPSHOT_HTTP_ADDRESS": "off"},
        ),
        (
            "viewer",
            ["viewer"],
            {"VIEWER_HTTP_ADDRESS": f"127.0.0.1:{viewer}", "CDN_BASE_URL": CDN},
        ),
        ("invalidator", ["viewer", "invalidate"], {"CACHE_HTTP_ADDRESS": "off"}),
        (
            "search",
            ["consumer", "search"],
            {"SNAPSHOT_ADDRESS": snapshots, "SEARCH_INDEX": str(index)},
        ),
        ("analytics", ["consumer", "analytics"], {}),
        ("engagement", ["consumer", "engagement"], {}),
    ):
        started.enter_context(world.running(process, *words, **OWN_NAMES | environment))
    return started


async def test_every_program_does_its_work_with_its_own_users_and_none_is_refused_anything(
    world: Deployed, tmp_path: Path
) -> None:
    viewer, index = free_port(), tmp_path / "search.db"
    token = {"authorization": f"Bearer {world.secret('viewer/service-auth-token')}"}

    async def shown() -> str:
        """The title on the page."""
        url = f"http://127.0.0.1:{viewer}/v1/catalog/series/frogs"
        try:
            async with http.get(url, headers=token) as answer:
                return str((await answer.json())["title"]) if answer.status == 200 else ""
        except ClientConnectionError:
            return ""

    async def title_is(title: str) -> bool:
        return await shown() == title

    async def found() -> bool:
        try:
            return [answer.slug for answer in search(index, "green", most=9)] == ["frogs"]
        except CatalogStreamError:
            return False

    async def counted() -> bool:
        try:
            return bool(await figures.fetchval("SELECT sum(events) FROM analytics.event_count"))
        except asyncpg.UndefinedTableError:
            return False

    async def scored() -> bool:
        return bool(await redis.zcard(KEY))

    with ours(world, viewer, index):
        redis: Any = Redis.from_url(world.redis_url("operator"))
        admin = await asyncpg.connect(world.secret("admin-tools/database-url"))
        figures = await asyncpg.connect(world.secret("analytics/consumer-database-url"))
        async with redis, ClientSession() as http:
            await admin.execute(WRITE, "Green Frogs")
            waiting: list[Callable[[], Awaitable[bool]]] = [found, counted, scored]
            for arrived in waiting:
                await eventually(arrived)
            await eventually(lambda: title_is("Green Frogs"))
            await admin.execute("UPDATE catalog.series SET title = 'Green Toads'")
            await eventually(lambda: title_is("Green Toads"))
            refused = [entry["object"] for entry in await redis.acl_log()]
        await admin.close()
        await figures.close()
    assert refused == []


async def test_on_call_may_do_all_that_the_commands_do_with_what_a_program_has(
    world: Deployed,
) -> None:
    redis: Any = Redis.from_url(world.redis_url("operator"))
    async with redis:
        await redis.xgroup_create(STREAM, "gone", id="0", mkstream=True)
        await redis.acl_log_reset()
        of_group = ("--group", "analytics", "--all", "--yes")
        commands = (
            ("publisher", "publisher", "status"),
            ("publisher", "publisher", "verify"),
            ("publisher", "publisher", "replay", "--from", "1-0"),
            ("publisher", "publisher", "group-drop", "--yes", "gone"),
            ("analytics", "consumer", "requeue", "--within-s", "0.1", *of_group),
        )
        said = await asyncio.gather(*(world.said(*command) for command in commands))
        assert [text for text in said if "NOPERM" in text or "permission" in text] == []
        assert [entry["object"] for entry in await redis.acl_log()] == []


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("publisher", "SET catalog:episode:pond x"),
        ("publisher", "DEL catalog:events"),
        ("publisher", "DEL {catalog:events}:epoch"),
        ("publisher", "XREADGROUP GROUP search m STREAMS catalog:events >"),
        ("publisher", "FLUSHALL"),
        ("viewer", "XRANGE catalog:events - +"),
        ("viewer", "SET catalog:events x"),
        ("viewer", "KEYS *"),
        ("invalidator", "XADD catalog:events * a b"),
        ("invalidator", "DEL {catalog:events}:reader:search"),
        ("search", "XADD catalog:events * a b"),
        ("search", "DEL catalog:events:{0}"),
        ("search", "XTRIM catalog:events MAXLEN 0"),
        ("search", "SET {catalog:events}:epoch 9"),
        ("search", "GET {catalog:events}:reader:analytics"),
        ("search", "XADD catalog:events:dead-letter:analytics * a b"),
        ("search", "DEL catalog:episode:pond"),
        ("analytics", "ZINCRBY {catalog:popularity} 1 series:a"),
        ("engagement", "DEL {catalog:popularity}"),
        ("engagement", "CONFIG GET *"),
        ("engagement", "ACL LIST"),
    ],
)
async def test_a_user_of_redis_is_refused_what_is_not_its_work(
    world: Deployed, user: str, command: str
) -> None:
    redis: Any = Redis.from_url(world.redis_url(user))
    async with redis:
        assert await redis.ping()
        with pytest.raises(NoPermissionError):
            await redis.execute_command(*command.split())


async def test_redis_lets_nobody_in_without_a_password(world: Deployed) -> None:
    place = world.redis_url("viewer").rpartition("@")[2]
    for url in (f"redis://{place}", f"redis://viewer:wrong@{place}"):
        redis: Any = Redis.from_url(url)
        async with redis:
            with pytest.raises(AuthenticationError):
                await redis.get("catalog:episode:pond")
    probe: Any = Redis.from_url(f"redis://probe:-@{place}")
    async with probe:
        assert await probe.ping()
        with pytest.raises(NoPermissionError):
            await probe.get("catalog:episode:pond")


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("publisher", "SELECT FROM catalog.series"),
        ("publisher", "SELECT FROM feed.item"),
        ("publisher", "INSERT INTO outbox.event SELECT FROM outbox.event"),
        ("publisher", "CREATE TEMPORARY TABLE t (a int)"),
        ("snapshot-server", "UPDATE catalog.series SET title = ''"),
        ("snapshot-server", "SELECT outbox.requeue(1, 1, '')"),
        ("snapshot-server", "DELETE FROM outbox.tick"),
        ("viewer", "UPDATE catalog.series SET title = ''"),
        ("viewer", "SELECT FROM outbox.event"),
        ("viewer", "SELECT FROM feed.item"),
        ("viewer", "CREATE SCHEMA mine"),
        ("admin-tools", "SELECT FROM outbox.event"),
        ("admin-tools", "DELETE FROM outbox.lease"),
        ("admin-tools", "SET session_replication_role = 'replica'"),
        ("admin-tools", "ALTER TABLE catalog.series DISABLE TRIGGER ALL"),
        ("admin-tools", "TRUNCATE catalog.series"),
        ("admin-tools", "CREATE TABLE public.t (a int)"),
        ("viewer", "SET ROLE catalog_writer"),
    ],
)
async def test_a_user_of_postgresql_is_refused_what_is_not_its_work(
    world: Deployed, user: str, statement: str
) -> None:
    connection = await asyncpg.connect(world.secret(f"{user}/database-url"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_postgresql_lets_nobody_in_without_a_password_or_into_another_database(
    world: Deployed,
) -> None:
    url = world.secret("viewer/database-url")
    password = world.secret("viewer/postgres-password")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "wrong"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(url.replace("/catalog", "/analytics"))
    of_analytics = world.secret("analytics/consumer-database-url").removesuffix("/analytics")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"{of_analytics}/catalog")
