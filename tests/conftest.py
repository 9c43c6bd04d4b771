"""Real servers for a test session; a database of its own and an empty Valkey for each test."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis_servers import IN_MEMORY, Flavour, running
from servers import IN_A_HURRY, SCHEMA, Connect, cloned, postgres_running, with_schema

from embedded.postgres import Postgres, wheel_binaries
from embedded.valkey import Valkey
from outbox import connection as outbox_connection
from process.redis import connection as redis_connection

_POSTGRES_SETTINGS = IN_A_HURRY | {
    "max_connections": "200",
    "max_prepared_transactions": "20",
    # A test that looks at a plan runs ANALYZE itself, or its answer would depend on the moment.
    "autovacuum": "off",
}
_TEMPLATE = "catalog_template"
_CLOSE_TIMEOUT_S = 10.0


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("servers") / "postgres"
    with postgres_running(folder, _POSTGRES_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running(tmp_path_factory.mktemp("servers") / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres_server: Postgres) -> str:
    """The name of a database with the schema and no rows, to be cloned and never written to."""

    def psql(database: str, *arguments: str) -> None:
        subprocess.run(
            [
                wheel_binaries() / "psql",
                postgres_server.dsn(database),
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                *arguments,
            ],
            check=True,
        )

    psql("postgres", f"--command=CREATE DATABASE {_TEMPLATE}")
    psql(_TEMPLATE, f"--file={SCHEMA}")
    return _TEMPLATE


@pytest.fixture
async def database(postgres_server: Postgres, template: str) -> AsyncIterator[str]:
    """The address of a database with the schema and no rows."""
    async with cloned(postgres_server, template) as dsn:
        yield dsn


@pytest.fixture
async def empty_database(postgres_server: Postgres) -> AsyncIterator[str]:
    """The address of a database without the schema."""
    async with cloned(postgres_server, "template1") as dsn:
        yield dsn


@pytest.fixture
async def connect(database: str) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as opened:

        async def connect(**options: Any) -> asyncpg.Connection:  # noqa: ANN401
            connection: asyncpg.Connection = await asyncpg.connect(database, **options)
            opened.push_async_callback(connection.close, timeout=_CLOSE_TIMEOUT_S)
            return connection

        yield connect


@pytest.fixture
async def connection(connect: Connect) -> asyncpg.Connection:
    return await connect()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool as the publisher's is."""
    async with asyncpg.create_pool(
        database, min_size=0, max_size=8, server_settings=outbox_connection.SETTINGS
    ) as pool:
        yield pool


@pytest.fixture
def redis_url(valkey_server: Valkey) -> str:
    """The address of a server without a key."""
    with BlockingRedis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the publisher's is."""
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    async with redis_connection.client(settings["REDIS_URL"]) as client:
        yield client


@pytest.fixture(scope="session", params=list(Flavour))
def each_redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey]:
    """Valkey, Redis 6.2 and the redis-server of this machine, one after the other."""
    flavour: Flavour = request.param
    folder = tmp_path_factory.mktemp("servers") / flavour
    with running(folder, IN_MEMORY, flavour=flavour) as server:
        yield server


@pytest.fixture
def each_redis_url(each_redis_server: Valkey) -> str:
    """The address of a server without a key or a script."""
    each_redis_server.start()
    with BlockingRedis.from_url(each_redis_server.url) as client:
        client.flushall()
        client.script_flush()
    return each_redis_server.url


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that the tests of one module may kill.

    It has no prepared transactions: where they are in use nobody may ring the bell.
    """
    with postgres_running(tmp_path_factory.mktemp("servers") / "postgres") as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that the tests of one module may kill; it keeps nothing."""
    with running(tmp_path_factory.mktemp("servers") / "valkey") as server:
        yield server


@pytest.fixture
async def own_database(postgres: Postgres) -> AsyncIterator[str]:
    """The address of a database with the schema and no rows, on the module's own server."""
    postgres.start()
    async with with_schema(postgres) as dsn:
        yield dsn


@pytest.fixture
def own_redis_url(valkey: Valkey) -> str:
    """The address of the module's own server, without a key."""
    valkey.start()
    with BlockingRedis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
async def own_redis(own_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_redis_url, decode_responses=True) as client:
        yield client
