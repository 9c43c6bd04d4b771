"""A media asset's variants are a part of it: each change of them is an update of the asset."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
from captured import Change, add_assets, add_variants, captured, last_id
from servers import Connect


@pytest.fixture(params=[1, 3], ids=["one row", "several rows"])
def rows(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def updates(*pairs: tuple[UUID, UUID]) -> set[str]:
    """The one event of each asset, as `raised` gives it."""
    return {
        repr(
            Change(
                "mediaAsset",
                str(asset),
                "update",
                {"episodeId": str(episode), "variants": None, "$omitted": ["variants"]},
            )
        )
        for asset, episode in pairs
    }


async def raised(connection: asyncpg.Connection, after: int) -> set[str]:
    changes = [repr(change) for change in await captured(connection, after=after)]
    assert len(changes) == len(set(changes)), "an asset has more than one event"
    return set(changes)


async def test_inserted_variants_are_one_update_of_each_asset(
    connection: asyncpg.Connection, rows: int
) -> None:
    pairs = await add_assets(connection, rows)
    before = await last_id(connection)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p", "720p")
    assert await raised(connection, before) == updates(*pairs)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog.media_asset_variant SET bitrate_kbps = 7000",
        "UPDATE catalog.media_asset_variant SET label = label || '+', frame_rate = 25",
        "UPDATE catalog.media_asset_variant SET id = gen_random_uuid()",
        "DELETE FROM catalog.media_asset_variant",
    ],
)
async def test_changed_or_deleted_variants_are_one_update_of_each_asset(
    connection: asyncpg.Connection, rows: int, statement: str
) -> None:
    pairs = await add_assets(connection, rows)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p")
    before = await last_id(connection)
    await connection.execute(statement)
    assert await raised(connection, before) == updates(*pairs)


async def test_several_variants_of_one_asset_are_one_update(
    connection: asyncpg.Connection,
) -> None:
    [pair] = await add_assets(connection)
    await add_variants(connection, [pair[0]], "1080p", "720p", "480p")
    before = await last_id(connection)
    await connection.execute("UPDATE catalog.media_asset_variant SET codec = 'av1'")
    assert await raised(connection, before) == updates(pair)


async def test_only_the_assets_whose_variants_changed_have_an_update(
    connection: asyncpg.Connection,
) -> None:
    pairs = await add_assets(connection, 3)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p", "720p")
    before = await last_id(connection)
    await connection.execute(
        "UPDATE catalog.media_asset_variant SET width ="
        " CASE media_asset_id WHEN $1 THEN width + 1 ELSE width END",
        pairs[1][0],
    )
    assert await raised(connection, before) == updates(pairs[1])


async def test_variants_updated_to_what_they_are_raise_nothing(
    connection: asyncpg.Connection, rows: int
) -> None:
    pairs = await add_assets(connection, rows)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p")
    before = await last_id(connection)
    await connection.execute("UPDATE catalog.media_asset_variant SET width = width, label = label")
    assert await raised(connection, before) == set()


async def test_a_variant_moved_to_another_asset_is_an_update_of_both(
    connection: asyncpg.Connection,
) -> None:
    pairs = await add_assets(connection, 3)
    await add_variants(connection, [pairs[0][0]], "1080p")
    before = await last_id(connection)
    await connection.execute(
        "UPDATE catalog.media_asset_variant SET media_asset_id = $1", pairs[1][0]
    )
    assert await raised(connection, before) == updates(pairs[0], pairs[1])


async def test_variants_of_a_soft_deleted_asset_raise_nothing(
    connection: asyncpg.Connection,
) -> None:
    (gone, _), (stays, episode) = await add_assets(connection, 2)
    await add_variants(connection, [gone], "1080p")
    await connection.execute(
        "UPDATE catalog.media_asset SET deleted_at = now() WHERE id = $1", gone
    )
    before = await last_id(connection)
    await add_variants(connection, [gone], "720p")
    await connection.execute("UPDATE catalog.media_asset_variant SET width = 1")
    assert await raised(connection, before) == set()

    await connection.execute(
        "UPDATE catalog.media_asset_variant SET media_asset_id = $1 WHERE label = '720p'", stays
    )
    await connection.execute("DELETE FROM catalog.media_asset_variant WHERE label = '1080p'")
    assert await raised(connection, before) == updates((stays, episode))


@pytest.mark.parametrize(
    "statement",
    [
        (
            "INSERT INTO catalog.media_asset_variant"
            " (media_asset_id, label, width, height, bitrate_kbps, codec)"
            " SELECT id, '720p', 1, 1, 1, 'h264' FROM catalog.media_asset"
        ),
        "UPDATE catalog.media_asset_variant SET width = 1",
        "DELETE FROM catalog.media_asset_variant",
    ],
)
async def test_a_soft_deleted_asset_does_not_come_back_while_its_variants_change(
    connection: asyncpg.Connection, connect: Connect, statement: str
) -> None:
    [(asset, _)] = await add_assets(connection, 1)
    await add_variants(connection, [asset], "1080p")
    await connection.execute("UPDATE catalog.media_asset SET deleted_at = now()")
    back = "UPDATE catalog.media_asset SET deleted_at = NULL"
    before = await last_id(connection)
    async with (changing := await connect()).transaction():
        await changing.execute(statement)
        # Whoever saw it now would see the variants as they were, and be told of no change.
        await connection.execute("SET lock_timeout = '50ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.execute(back)

    await connection.execute(back)
    assert [change.operation for change in await captured(connection, after=before)] == ["create"]


@pytest.mark.parametrize(
    ("statement", "deleted"),
    [
        ("DELETE FROM catalog.media_asset", ["mediaAsset"] * 2),
        ("DELETE FROM catalog.episode", ["episode"] * 2 + ["mediaAsset"] * 2),
    ],
    ids=["asset", "episode"],
)
async def test_variants_that_go_with_their_asset_leave_only_its_delete(
    connection: asyncpg.Connection, statement: str, deleted: list[str]
) -> None:
    pairs = await add_assets(connection, 2)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p", "720p")
    before = await last_id(connection)
    await connection.execute(statement)
    changes = await captured(connection, after=before)
    assert sorted(change.entity for change in changes) == deleted
    assert {change.operation for change in changes} == {"delete"}


async def test_asset_and_variants_written_by_one_statement_end_with_the_variants(
    connection: asyncpg.Connection,
) -> None:
    [(_, episode)] = await add_assets(connection)
    await connection.execute("DELETE FROM catalog.media_asset")
    before = await last_id(connection)
    await connection.execute(
        "WITH asset AS (INSERT INTO catalog.media_asset (episode_id) VALUES ($1) RETURNING id)"
        " INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        " SELECT id, '1080p', 1920, 1080, 6000, 'h264' FROM asset",
        episode,
    )
    changes = await captured(connection, after=before)
    assert [change.operation for change in changes] == ["create", "update"]


@pytest.mark.parametrize("first", ["asset", "variant"])
async def test_after_the_delete_of_an_asset_no_update_of_it_follows(
    connect: Connect, first: str
) -> None:
    """Two transactions, one deleting the asset, one changing a variant: the second waits."""
    one, other, watcher = await connect(), await connect(), await connect()
    [(asset, _)] = await add_assets(one)
    await add_variants(one, [asset], "1080p")
    before = await last_id(one)
    writes = [
        "UPDATE catalog.media_asset SET deleted_at = now()",
        "UPDATE catalog.media_asset_variant SET width = 1",
    ]
    if first == "variant":
        writes.reverse()
    open_one = one.transaction()
    await open_one.start()
    await one.execute(writes[0])
    waiting = asyncio.create_task(other.execute(writes[1]))
    async with asyncio.timeout(10):
        while not await watcher.fetchval(
            "SELECT $1 = ANY (pg_blocking_pids($2))", one.get_server_pid(), other.get_server_pid()
        ):
            assert not waiting.done()
    await open_one.commit()
    await waiting

    operations = [change.operation for change in await captured(watcher, after=before)]
    assert operations == (["delete"] if first == "asset" else ["update", "delete"])
