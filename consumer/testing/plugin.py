"""Fixtures for a test suite anywhere: servers of its own, a publisher, and the scenarios.

Servers start with the first test that asks for them, and end with the session.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.testing.publisher import ScriptedPublisher
    from consumer.testing.run import Scenarios
    from embedded.postgres import Postgres
    from embedded.valkey import Valkey

_SERVER = "catalog_redis_server"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which Redis."""
    parser.addini(
        _SERVER, "the redis-server to test with (default: Valkey out of its wheel)", "string"
    )


def _redis_server(config: pytest.Config) -> Path | None:
    return Path(path) if (path := config.getini(_SERVER)) else None


@pytest.fixture(scope="session")
def _catalog_valkey(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Valkey]:
    from embedded.valkey import Valkey  # noqa: PLC0415 - only for those who ask for it

    settings = {"save": "", "appendonly": "no"}
    folder = tmp_path_factory.mktemp("catalog") / "redis"
    server = Valkey(folder, settings, binary=_redis_server(pytestconfig))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def _catalog_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    from embedded.postgres import Postgres  # noqa: PLC0415 - only for those who ask for it

    server = Postgres(tmp_path_factory.mktemp("catalog") / "postgres", {"fsync": "off"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def catalog_redis(_catalog_valkey: Valkey) -> str:
    """The address of a private Redis without a key."""
    from redis import Redis  # noqa: PLC0415 - only for those who ask for it

    with Redis.from_url(_catalog_valkey.url) as client:
        client.flushall()
    return _catalog_valkey.url


@pytest.fixture
def catalog_postgres(_catalog_server: Postgres) -> Iterator[str]:
    """The address of an empty database on a private PostgreSQL: for a consumer's own tables."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(_catalog_server.dsn(), f"CREATE DATABASE {name}")
    yield _catalog_server.dsn(name)
    _execute(_catalog_server.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def scripted_publisher(catalog_redis: str) -> Iterator[ScriptedPublisher]:
    """Writes to `catalog:events` of `catalog_redis` what a test tells it."""
    from consumer.testing.publisher import ScriptedPublisher  # noqa: PLC0415

    with ScriptedPublisher(catalog_redis) as publisher:
        yield publisher


@pytest.fixture
def consumer_scenarios(pytestconfig: pytest.Config, tmp_path: Path) -> Scenarios:
    """Plays them: `consumer_scenarios.check(consumer)`, or `await consumer_scenarios.run(…)`."""
    from consumer.testing.demands import Demands  # noqa: PLC0415
    from consumer.testing.run import Scenarios  # noqa: PLC0415

    return Scenarios(tmp_path / "scenarios", Demands(redis_server=_redis_server(pytestconfig)))


def _execute(dsn: str, statement: str) -> None:
    import asyncpg  # noqa: PLC0415 - only for those who ask for it

    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # In a thread: the test itself may be a coroutine, whose loop runs by now.
    import threading  # noqa: PLC0415

    thread = threading.Thread(target=asyncio.run, args=(execute(),))
    thread.start()
    thread.join()
