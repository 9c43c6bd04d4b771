"""A catalog, and whatever can be done to it that shows on a page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
from shown import Catalog, manifest_of

LOOKS_LIKE_AN_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@dataclass
class Shop:
    """The catalog of these tests."""

    rows: Catalog
    category: UUID
    frogs: UUID
    toads: UUID
    season: UUID
    episode: UUID
    other: UUID


async def new_shop(connection: asyncpg.Connection) -> Shop:
    rows = Catalog(connection)
    category = await rows.category("nature")
    frogs = await rows.series("frogs", category_id=category)
    toads = await rows.series("toads")
    season = await rows.season(frogs, 1)
    episode = await rows.episode("pond", frogs, season_id=season)
    await rows.episode(LOOKS_LIKE_AN_ID, toads)
    return Shop(rows, category, frogs, toads, season, episode, await rows.episode("lake", toads))


async def retitle(shop: Shop) -> None:
    await shop.rows.update("episode", shop.episode, title=uuid4().hex)


async def retitle_series(shop: Shop) -> None:
    await shop.rows.update("series", shop.frogs, title=uuid4().hex)


async def rename_category(shop: Shop) -> None:
    await shop.rows.update("category", shop.category, name=uuid4().hex)


async def delete_season(shop: Shop) -> None:
    await shop.rows.update("season", shop.season, deleted_at=datetime.now(UTC))


async def restore_season(shop: Shop) -> None:
    await shop.rows.update("season", shop.season, deleted_at=None)


async def new_manifest(shop: Shop) -> None:
    await shop.rows.connection.execute(
        "UPDATE catalog.media_asset SET manifest_url = $2 WHERE episode_id = $1",
        shop.episode,
        manifest_of(uuid4().hex),
    )


async def new_variants(shop: Shop) -> None:
    await shop.rows.connection.execute("UPDATE catalog.media_asset_variant SET label = 'new'")


async def publish_another(shop: Shop) -> None:
    await shop.rows.episode("brook", shop.frogs, season_id=shop.season)


async def move_another_here(shop: Shop) -> None:
    await shop.rows.update("episode", shop.other, series_id=shop.frogs)


async def move_away(shop: Shop) -> None:
    await shop.rows.update("episode", shop.episode, series_id=shop.toads, season_id=None)


async def move_back(shop: Shop) -> None:
    await shop.rows.update("episode", shop.episode, series_id=shop.frogs)


async def let_another_have_the_slug(shop: Shop) -> None:
    await shop.rows.update("episode", shop.episode, slug="puddle")
    await shop.rows.update("episode", shop.other, slug="pond")


async def publish_what_has_the_slug_as_its_id(shop: Shop) -> None:
    await shop.rows.episode("namesake", shop.toads, id=UUID(LOOKS_LIKE_AN_ID))


async def unpublish_series(shop: Shop) -> None:
    await shop.rows.update("series", shop.frogs, status="ARCHIVED")


async def delete_series(shop: Shop) -> None:
    await shop.rows.connection.execute("DELETE FROM catalog.series WHERE id = $1", shop.toads)


BY_ID, BY_SLUG = "episodes/{0.episode}", "episodes/pond"
SERIES_BY_ID, SERIES_BY_SLUG = "series/{0.frogs}", "series/frogs"
Change = Callable[[Shop], Awaitable[None]]
# Each finds the catalog as those before it have left it.
CHANGES: list[tuple[str, Change]] = [
    (BY_ID, retitle),
    (BY_SLUG, retitle),
    (SERIES_BY_SLUG, retitle),
    (BY_ID, retitle_series),
    (SERIES_BY_ID, retitle_series),
    (BY_SLUG, rename_category),
    (SERIES_BY_ID, rename_category),
    (BY_SLUG, delete_season),
    (SERIES_BY_SLUG, restore_season),
    (BY_ID, new_manifest),
    (SERIES_BY_SLUG, new_manifest),
    (BY_SLUG, new_variants),
    (SERIES_BY_ID, publish_another),
    (SERIES_BY_SLUG, move_another_here),
    (SERIES_BY_SLUG, move_away),
    (BY_ID, move_back),
    (BY_SLUG, let_another_have_the_slug),
    (f"episodes/{LOOKS_LIKE_AN_ID}", publish_what_has_the_slug_as_its_id),
    ("episodes/puddle", unpublish_series),
    ("series/toads", delete_series),
]
