"""PostgreSQL and Valkey for one run, as durable as they are by default."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from redis.asyncio import Redis

from embedded.postgres import Postgres, wheel_binaries
from embedded.valkey import Valkey
from outbox import sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[1]
STREAM_KEY = "catalog:events"
SQL = sql.load("benchmarks")

_POSTGRES_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": "100",
}
_VALKEY_SETTINGS = {"save": "", "appendonly": "no"}


@dataclass(frozen=True)
class Servers:
    """Two servers and a folder for what goes with the run."""

    folder: Path
    postgres: Postgres
    valkey: Valkey

    @property
    def redis_url(self) -> str:
        """The address of Valkey."""
        return self.valkey.url

    @asynccontextmanager
    async def database(self, name: str, *, series: bool = True) -> AsyncIterator[str]:
        """The address of a new database with the schema, and with the tables of the peers.

        With *series* there are 100,000 of them, to be changed.
        """
        await self._execute(f"CREATE DATABASE {name}")
        dsn = self.postgres.dsn(name)
        self._psql(dsn, f"--file={ROOT / 'schema.sql'}")
        self._psql(dsn, f"--command={SQL['create_peers']}")
        if series:
            # One session, but not one transaction: VACUUM would refuse.
            self._psql(dsn, *(f"--command={one}" for one in SQL["create_series"].split(";")))
        try:
            yield dsn
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def redis(self) -> Redis:
        """A client for Valkey."""
        return Redis.from_url(self.redis_url)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres.dsn())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _psql(self, dsn: str, *arguments: str) -> None:
        subprocess.run(
            [
                wheel_binaries() / "psql",
                dsn,
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                *arguments,
            ],
            check=True,
        )


@contextmanager
def running() -> Iterator[Servers]:
    """Both servers in a new folder, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        postgres = Postgres(folder / "postgres", _POSTGRES_SETTINGS)
        valkey = Valkey(folder / "valkey", _VALKEY_SETTINGS)
        try:
            postgres.start()
            valkey.start()
            yield Servers(folder, postgres, valkey)
        finally:
            valkey.stop()
            postgres.stop()
