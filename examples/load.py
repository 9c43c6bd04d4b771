"""Titles into catalog.*, a few hundred in each transaction: added and changed, never deleted."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from examples.errors import DatabaseUnavailable, ManifestRefused
from examples.plan import LADDER, Episode, Title, variant_id
from examples.slugs import choose, extended
from examples.title_list import Skipped
from outbox import sql

TITLES_PER_TRANSACTION = 300

_CONNECT_TIMEOUT_S = 10.0
_SQL = sql.load("examples")


class Outcome(StrEnum):
    """What became of a row."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Written:
    """What became of *titles* titles: rows by table and outcome, and the titles left out."""

    titles: int = 0
    rows: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    skipped: tuple[Skipped, ...] = ()

    def __add__(self, other: "Written") -> "Written":
        """Both."""
        return Written(
            self.titles + other.titles, self.rows + other.rows, self.skipped + other.skipped
        )


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection; what goes wrong on it is `DatabaseUnavailable`."""
    with _translated():
        connection: asyncpg.Connection = await asyncpg.connect(
            database_url,
            timeout=_CONNECT_TIMEOUT_S,
            server_settings={"application_name": "import_catalog"},
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=_CONNECT_TIMEOUT_S)


async def load(
    connection: asyncpg.Connection,
    titles: Sequence[Title],
    cdn_base_url: str,
    *,
    observe: Callable[[Written], None],
    per_transaction: int = TITLES_PER_TRANSACTION,
) -> None:
    """Write all *titles*; *observe* hears of every transaction once it is committed."""
    source = _Source(cdn_base_url, await _write_categories(connection, titles, observe))
    for start in range(0, len(titles), per_transaction):
        observe(await _write(connection, titles[start : start + per_transaction], source))


@dataclass(frozen=True)
class _Source:
    """What all titles of one import share."""

    cdn_base_url: str
    category_ids: Mapping[str, UUID]


async def _write_categories(
    connection: asyncpg.Connection, titles: Sequence[Title], observe: Callable[[Written], None]
) -> Mapping[str, UUID]:
    categories = {title.category.slug: title.category for title in titles if title.category}
    tables = _Tables(connection)
    rows = [(c.id, c.slug, c.name, c.description, c.display_order) for c in categories.values()]
    await tables.write("category", rows)
    observe(Written(rows=tables.done))
    held = await connection.fetch(_SQL["category_ids"], list(categories))
    return {row["slug"]: row["id"] for row in held}


async def _write(
    connection: asyncpg.Connection, titles: Sequence[Title], source: _Source
) -> Written:
    """Write *titles* in one transaction; those that the database refuses are left out."""
    try:
        return await _write_together(connection, titles, source)
    except asyncpg.CheckViolationError as refused:
        if refused.constraint_name == "media_asset_manifest_on_cdn":
            raise ManifestRefused(f"CDN_BASE_URL is {source.cdn_base_url}") from refused
        cause: asyncpg.PostgresError = refused
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as refused:
        cause = refused
    if len(titles) == 1:
        why = ": ".join(filter(None, [str(cause), cause.detail]))
        return Written(1, skipped=(Skipped(titles[0].line, f"the database refused it: {why}"),))
    middle = len(titles) // 2
    first = await _write(connection, titles[:middle], source)
    return first + await _write(connection, titles[middle:], source)


def _lost_a_race(error: BaseException) -> bool:
    # A slug that was free when we looked: the next attempt sees who has it and takes another.
    if isinstance(error, asyncpg.UniqueViolationError):
        return (error.constraint_name or "").endswith("_slug_unique")
    return isinstance(error, (asyncpg.DeadlockDetectedError, asyncpg.SerializationError))


@retry(
    retry=retry_if_exception(_lost_a_race),
    stop=stop_after_attempt(5),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    reraise=True,
)
async def _write_together(
    connection: asyncpg.Connection, titles: Sequence[Title], source: _Source
) -> Written:
    tables = _Tables(connection)
    async with connection.transaction():
        slugs = await tables.choose_slugs("series", [(title.id, title.slugs) for title in titles])
        await tables.write("series", _series_rows(titles, slugs, source))
        await tables.write("season", _season_rows(titles))
        slugs = await tables.choose_slugs("episode", _episode_choices(titles, slugs))
        await tables.write("episode", _episode_rows(titles, slugs, source.cdn_base_url))
        await tables.write("media_asset", _asset_rows(titles, source.cdn_base_url))
        await tables.write("variant", _variant_rows(titles))
    return Written(len(titles), tables.done)


class _Tables:
    """The statements of one transaction, and what they did."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.done: Counter[tuple[str, Outcome]] = Counter()

    async def write(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        if not rows:
            return
        columns = zip(*rows, strict=True)
        done = await self._connection.fetchrow(_SQL[f"write_{table}"], *columns)
        assert done is not None  # noqa: S101 - an aggregate always has its row
        created, changed = done
        self.done[table, Outcome.CREATED] += created
        self.done[table, Outcome.CHANGED] += changed
        self.done[table, Outcome.UNCHANGED] += len(rows) - created - changed

    async def choose_slugs(
        self, table: str, wanted: Sequence[tuple[UUID, tuple[str, ...]]]
    ) -> Mapping[UUID, str]:
        held = await self._connection.fetch(
            _SQL[f"{table}_slugs"],
            [slug for _, slugs in wanted for slug in slugs],
            [own_id for own_id, _ in wanted],
        )
        return choose(wanted, {row["slug"]: row["id"] for row in held})


def _episodes(titles: Sequence[Title]) -> Iterator[tuple[Title, Episode]]:
    return ((title, episode) for title in titles for episode in title.episodes)


def _episode_choices(
    titles: Sequence[Title], series_slugs: Mapping[UUID, str]
) -> list[tuple[UUID, tuple[str, ...]]]:
    wanted: list[tuple[UUID, tuple[str, ...]]] = []
    for title, episode in _episodes(titles):
        slug = series_slugs[title.id]
        if episode.slug_ending is not None:
            slug = extended(slug, episode.slug_ending)
        wanted.append((episode.id, (slug, extended(slug, episode.id.hex))))
    return wanted


# The rows below have the order of the parameters in queries.sql.


def _series_rows(
    titles: Sequence[Title], slugs: Mapping[UUID, str], source: _Source
) -> list[tuple[Any, ...]]:
    return [
        (
            title.id,
            slugs[title.id],
            title.title,
            title.synopsis,
            ",".join(title.tags),
            title.status,
            title.release_date,
            source.category_ids[title.category.slug] if title.category else None,
            f"{source.cdn_base_url}/images/{title.id}/hero.jpg",
            f"{source.cdn_base_url}/images/{title.id}/banner.jpg",
        )
        for title in titles
    ]


def _season_rows(titles: Sequence[Title]) -> list[tuple[Any, ...]]:
    return [
        (season.id, title.id, season.number, season.title, season.status, season.release_date)
        for title in titles
        for season in title.seasons
    ]


def _episode_rows(
    titles: Sequence[Title], slugs: Mapping[UUID, str], cdn_base_url: str
) -> list[tuple[Any, ...]]:
    return [
        (
            episode.id,
            slugs[episode.id],
            title.id,
            episode.season_id,
            episode.title,
            episode.synopsis,
            episode.duration_seconds,
            episode.status,
            episode.published_at,
            *episode.available,
            json.dumps({k: f"{cdn_base_url}/{path}" for k, path in episode.captions.items()}),
            ",".join(episode.tags),
            f"{cdn_base_url}/images/{episode.id}/thumbnail.jpg",
        )
        for title, episode in _episodes(titles)
    ]


def _asset_rows(titles: Sequence[Title], cdn_base_url: str) -> list[tuple[Any, ...]]:
    return [
        (
            episode.asset_id,
            episode.id,
            f"{cdn_base_url}/videos/{episode.asset_id}/master.m3u8",
            f"{cdn_base_url}/images/{episode.id}/thumbnail.jpg",
        )
        for _, episode in _episodes(titles)
    ]


def _variant_rows(titles: Sequence[Title]) -> list[tuple[Any, ...]]:
    return [
        (
            variant_id(asset_id, variant),
            asset_id,
            variant.label,
            variant.width,
            variant.height,
            variant.bitrate_kbps,
            variant.codec,
            variant.frame_rate,
        )
        for _, episode in _episodes(titles)
        for asset_id in [episode.asset_id]
        for variant in LADDER
    ]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise DatabaseUnavailable(f"Apply schema.sql first: {error}") from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.InterfaceError,
        OSError,
    ) as error:
        raise DatabaseUnavailable(str(error) or type(error).__name__) from error
