"""A database of its own for each test, and more connections to it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from embedded.postgres import Postgres


class Connect(Protocol):
    """Opens one more connection to the test's database; options as of asyncpg.connect."""

    async def __call__(self, **options: Any) -> asyncpg.Connection: ...  # noqa: ANN401


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
