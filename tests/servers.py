"""A server for a while, a database of its own for each test, and more connections to it."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from embedded.postgres import Postgres

SCHEMA = Path(__file__).resolve().parents[1] / "schema.sql"
IN_A_HURRY = {"fsync": "off"}
"""Safe as long as only processes are killed, and not the machine."""


class Connect(Protocol):
    """Opens one more connection to the test's database; options as of asyncpg.connect."""

    async def __call__(self, **options: Any) -> asyncpg.Connection: ...  # noqa: ANN401


@contextmanager
def postgres_running(folder: Path, settings: Mapping[str, str] = IN_A_HURRY) -> Iterator[Postgres]:
    """A server over *folder* until the end of the block."""
    server = Postgres(folder, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def with_schema(server: Postgres) -> AsyncIterator[str]:
    """The address of a database of its own with the schema and no rows, on any server."""
    async with cloned(server, "template1") as dsn:
        await _execute(dsn, SCHEMA.read_text("utf-8"))
        try:
            yield dsn
        finally:
            # The test may have killed it.
            server.start()


@asynccontextmanager
async def cloned(server: Postgres, template: str) -> AsyncIterator[str]:
    """The address of a copy of the database *template*, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    await _execute(server.dsn(), f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.dsn(name)
    finally:
        await _execute(server.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
