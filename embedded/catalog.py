"""The database of `make run`: its schema, and something to look at in it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import asyncpg

from embedded.errors import AddressRefused, NotAnAddress, SampleFailed
from embedded.folder import DATABASE_URL, DevFolder

DATABASE = "catalog"
_SAMPLE = ("-m", "examples.sample_catalog")
_HAS_DATABASE = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
_A_SLUG = """
SELECT slug FROM catalog.series
 ORDER BY (status = 'PUBLISHED' AND visibility = 'PUBLIC' AND deleted_at IS NULL) DESC, slug
 LIMIT 1
"""
_CDN_BASE_URL = """
SELECT substring(pg_get_constraintdef(oid) FROM $$'(https://[^']+)'$$)
  FROM pg_constraint WHERE conname = 'media_asset_manifest_on_cdn'
"""
_ANY_CDN = "https://cdn.example.com"


@dataclass(frozen=True)
class Catalog:
    """The database in DATABASE_URL, or ours."""

    folder: DevFolder
    addresses: Mapping[str, str]

    async def prepare(self) -> None:
        """Make the database if it is ours, and bring its schema up to date."""
        with _explained():
            if not os.environ.get(DATABASE_URL):
                async with _connection(self.folder.postgres.dsn()) as database:
                    if not await database.fetchval(_HAS_DATABASE, DATABASE):
                        await database.execute(f"CREATE DATABASE {DATABASE}")
            async with _connection(self.addresses[DATABASE_URL]) as database:
                await database.execute((self.folder.root / "schema.sql").read_text("utf-8"))
                if base_url := os.environ.get("CDN_BASE_URL"):
                    await database.execute("SELECT catalog.set_cdn_base_url($1)", base_url)

    async def a_slug(self) -> str | None:
        """Of a series, one that viewers may see if there is any; None in an empty catalog."""
        async with _connection(self.addresses[DATABASE_URL]) as database:
            slug: str | None = await database.fetchval(_A_SLUG)
        return slug

    async def cdn_base_url(self) -> str:
        """What the database wants manifests to be below."""
        async with _connection(self.addresses[DATABASE_URL]) as database:
            base_url: str | None = await database.fetchval(_CDN_BASE_URL)
        return base_url or _ANY_CDN

    async def load_sample(self) -> None:
        """Something to look at. Raises SampleFailed."""
        loader = await asyncio.create_subprocess_exec(
            sys.executable,
            *_SAMPLE,
            cwd=self.folder.root,
            env={**os.environ, **self.addresses},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await loader.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                loader.kill()
            raise
        if loader.returncode != 0:
            raise SampleFailed(said.decode(errors="replace"))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise AddressRefused(f"DATABASE_URL: {error}") from error
    except ValueError:
        # Its own words may quote the password.
        raise NotAnAddress(DATABASE_URL) from None


@asynccontextmanager
async def _connection(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    try:
        yield connection
    finally:
        await connection.close()
