"""`make import`, as its users run it: a real process, a real database, files good and bad."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest

from examples.load import TITLES_PER_TRANSACTION
from examples.plan import title_id
from examples.title_list import COLUMNS

CHECKOUT = Path(__file__).resolve().parents[2]
HEADER = ",".join(COLUMNS)
LINES = (
    'm1,Movie,Low Tide,,,,25-Sep-21,2020,PG,90 min,"Dramas, Sea",Wet.',
    's1,TV Show,High & Dry,,,,,2019,PG,2 Seasons,"Crime, Dramas",Dry.',
    "m2,Movie,Low Tide,,,,1-Jan-22,2021,PG,61 min,Dramas,Wet again.",
    "m3,Movie,灯台守,,,,,2022,PG,88 min,,",
)
COUNTS = {
    "category": 2,
    "series": 4,
    "season": 2,
    "episode": 19,
    "media_asset": 19,
    "media_asset_variant": 57,
}
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    out: str
    err: str


class Import(Protocol):
    """Runs the importer with *arguments*, on the test's database unless told otherwise."""

    async def __call__(self, *arguments: str | Path, **environment: str) -> Ended: ...


Write = Callable[..., Path]


@asynccontextmanager
async def _running(
    module: str, *arguments: str | Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    inherited = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "CDN_BASE_URL"}}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        cwd=CHECKOUT,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _end_of(process: asyncio.subprocess.Process) -> Ended:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def run_import(database: str) -> Import:
    async def run(*arguments: str | Path, **environment: str) -> Ended:
        settings = {"DATABASE_URL": database, **environment}
        async with _running("examples.import_catalog", *arguments, **settings) as process:
            return await _end_of(process)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str) -> Path:
        path = tmp_path / "titles.csv"
        path.write_text("\n".join([HEADER, *lines]), "utf-8")
        return path

    return write


async def _counts(connection: asyncpg.Connection) -> Mapping[str, int]:
    return {
        table: await connection.fetchval(f"SELECT count(*) FROM catalog.{table}")  # noqa: S608
        for table in COUNTS
    }


async def _events(connection: asyncpg.Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM outbox.event")
    return count


async def _slugs(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("SELECT slug FROM catalog.series ORDER BY slug")
    return [row["slug"] for row in rows]


async def _waits_for_a_lock(connection: asyncpg.Connection) -> int:
    """The process ID of the importer's session, once it waits for a lock."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            pid: int | None = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'import_catalog' AND wait_event_type = 'Lock'"
            )
            if pid is not None:
                return pid
            # Asked in a transaction, the view would answer the same for ever.
            await connection.execute("SELECT pg_stat_clear_snapshot()")


async def test_every_row_of_every_title_is_written(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    ended = await run_import(write(*LINES))

    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^variants +57 +0 +0$", ended.out, re.MULTILINE)
    assert "4 of 4 titles" in ended.out
    assert await _counts(connection) == COUNTS
    assert await _slugs(connection) == ["high-and-dry", "low-tide", "low-tide-2021", "title-m3"]
    show = await connection.fetchrow(
        "SELECT s.*, c.slug AS category FROM catalog.series AS s"
        " JOIN catalog.category AS c ON c.id = s.category_id WHERE s.slug = 'high-and-dry'"
    )
    assert show is not None
    assert (show["category"], show["tags"]) == ("crime", ["Crime", "Dramas"])
    assert (show["status"], show["visibility"]) == ("PUBLISHED", "PUBLIC")
    film = await connection.fetchrow(
        "SELECT e.season_id, e.duration_seconds, a.status, a.manifest_url FROM catalog.episode AS e"
        " JOIN catalog.media_asset AS a ON a.episode_id = e.id WHERE e.slug = 'low-tide-2021'"
    )
    assert film is not None
    assert (film["season_id"], film["duration_seconds"], film["status"]) == (None, 3660, "READY")
    assert film["manifest_url"].startswith("https://cdn.example.com/")


async def test_a_second_run_changes_nothing_and_raises_no_event(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    path = write(*LINES)
    await run_import(path)
    before = (
        await _events(connection),
        await connection.fetch("SELECT updated_at, xmin, xmax FROM catalog.episode ORDER BY id"),
    )

    ended = await run_import(path)

    assert re.search(r"^variants +0 +0 +57$", ended.out, re.MULTILINE)
    # xmin and xmax: not rewritten, and not even locked.
    assert before == (
        await _events(connection),
        await connection.fetch("SELECT updated_at, xmin, xmax FROM catalog.episode ORDER BY id"),
    )


async def test_only_what_differs_is_changed(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    await run_import(write(*LINES))
    before = await _events(connection)

    await run_import(write(LINES[0].replace("90 min", "95 min"), *LINES[1:]))

    new = await connection.fetch("SELECT * FROM outbox.event ORDER BY id OFFSET $1", before)
    assert [(event["entity"], event["operation"]) for event in new] == [("episode", "update")]
    assert '"durationSeconds":5700' in new[0]["payload"]


async def test_what_editors_have_set_stays(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    await run_import(write(*LINES))
    await connection.execute(
        "UPDATE catalog.series SET status = 'ARCHIVED', slug = 'ebb' WHERE slug = 'low-tide'"
    )

    await run_import(write(LINES[0].replace("Low Tide", "Ebb Tide"), *LINES[1:]))

    ebb = await connection.fetchrow("SELECT title, status FROM catalog.series WHERE slug = 'ebb'")
    assert ebb is not None
    assert tuple(ebb) == ("Ebb Tide", "ARCHIVED")


async def test_slugs_and_categories_that_others_have_are_respected(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "INSERT INTO catalog.series (slug, title) VALUES ('low-tide', 'Low Tide'), ('x', 'X')"
    )
    await connection.execute(
        "INSERT INTO catalog.episode (slug, series_id, title)"
        " SELECT 'high-and-dry-s1e1', id, 'X' FROM catalog.series WHERE slug = 'x'"
    )
    category = await connection.fetchval(
        "INSERT INTO catalog.category (slug, name) VALUES ('dramas', 'Our Dramas') RETURNING id"
    )
    path = write(*LINES)

    first, slugs = await run_import(path), await _slugs(connection)
    await connection.execute("DELETE FROM catalog.series WHERE id <> ALL ($1)", [
        title_id(key) for key in ("m1", "s1", "m2", "m3")
    ])  # fmt: skip
    await run_import(path)

    assert first.code == 0
    assert slugs == ["high-and-dry", "low-tide", "low-tide-2020", "low-tide-2021", "title-m3", "x"]
    assert await _slugs(connection) == [
        "high-and-dry",
        "low-tide-2020",
        "low-tide-2021",
        "title-m3",
    ]
    assert category == await connection.fetchval(
        "SELECT category_id FROM catalog.series WHERE slug = 'low-tide-2020'"
    )


async def test_broken_lines_are_reported_with_their_number_and_skipped(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    broken = "m9,Movie,Never,,,,32-Sep-21,2020,PG,90 min,Dramas,"

    ended = await run_import(write(LINES[0], broken, "m8,Movie", *LINES[1:]))

    assert ended.code == 0
    assert ended.err.splitlines() == [
        "line 3: date_added '32-Sep-21' is not like 25-Sep-21",
        "line 4: 2 fields instead of 12",
    ]
    assert "2 lines skipped" in ended.out
    assert await _counts(connection) == COUNTS


async def test_a_title_that_the_database_refuses_is_skipped_alone(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "ALTER TABLE catalog.episode ADD CONSTRAINT short CHECK (duration_seconds < 5400)"
    )

    ended = await run_import(write(*LINES))

    assert ended.code == 0
    assert 'line 2: the database refused it: new row for relation "episode"' in ended.err
    assert "3 of 4 titles" in ended.out
    assert await _slugs(connection) == ["high-and-dry", "low-tide", "title-m3"]


@pytest.mark.parametrize("content", [b"", b"show_id,title\nm1,Dune\n", b"\xff\xfe\x00"])
async def test_a_file_of_another_kind_is_refused_before_anything_is_written(
    run_import: Import, tmp_path: Path, connection: asyncpg.Connection, content: bytes
) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(content)

    ended = await run_import(path)

    assert ended.code == 1
    assert HEADER in ended.err
    assert await _counts(connection) == dict.fromkeys(COUNTS, 0)


async def test_a_folder_and_a_missing_file_are_refused(run_import: Import, tmp_path: Path) -> None:
    folder, missing = await run_import(tmp_path), await run_import(tmp_path / "none.csv")

    assert (folder.code, missing.code) == (1, 1)
    assert "Is a directory" in folder.err
    assert "No such file" in missing.err
    assert "show_id" not in folder.err + missing.err


async def test_bad_usage_is_2(run_import: Import) -> None:
    assert (await run_import()).code == 2


async def test_without_a_usable_database_it_is_4_and_says_which_variable(
    run_import: Import, write: Write, database: str, empty_database: str
) -> None:
    path = write(*LINES)
    nowhere = f"postgresql://postgres@/postgres?host={path.parent}"
    for address, word in [
        ("", "DATABASE_URL"),
        (nowhere, "DATABASE_URL"),
        ("https://example.com", "DATABASE_URL"),
        (database.replace("/test_", "/not_"), "does not exist"),
        (empty_database, "schema.sql"),
    ]:
        ended = await run_import(path, DATABASE_URL=address)

        assert (ended.code, ended.out) == (4, "")
        assert word in ended.err
        assert "Traceback" not in ended.err


async def test_a_foreign_cdn_is_refused_with_the_name_of_its_variable(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    ended = await run_import(write(*LINES), CDN_BASE_URL="https://elsewhere.example.com")

    assert ended.code == 4
    assert "CDN_BASE_URL" in ended.err
    assert (await _counts(connection))["series"] == 0


async def test_another_cdn_is_used_where_the_database_knows_it(
    run_import: Import, write: Write, connection: asyncpg.Connection
) -> None:
    await connection.execute("SELECT catalog.set_cdn_base_url('https://cdn.test/vod')")

    ended = await run_import(write(*LINES), CDN_BASE_URL="https://cdn.test/vod/")

    assert ended.code == 0
    manifests = await connection.fetch("SELECT manifest_url FROM catalog.media_asset")
    assert all(row["manifest_url"].startswith("https://cdn.test/vod/videos/") for row in manifests)


async def test_an_interrupted_import_keeps_what_was_committed_and_is_completed_by_the_next(
    run_import: Import, write: Write, database: str, connection: asyncpg.Connection
) -> None:
    titles = TITLES_PER_TRANSACTION + 20
    path = write(
        *(f"m{n},Movie,Film,,,,,{1900 + n % 7},PG,90 min,Dramas," for n in range(1, titles + 1))
    )
    # A row of the second transaction that somebody else is about to insert: there it waits.
    theirs = connection.transaction()
    await theirs.start()
    await connection.execute(
        "INSERT INTO catalog.series (id, slug, title) VALUES ($1, 'theirs', 'Theirs')",
        title_id(f"m{titles}"),
    )

    async with _running("examples.import_catalog", path, DATABASE_URL=database) as process:
        await _waits_for_a_lock(connection)
        process.send_signal(signal.SIGINT)
        interrupted = await _end_of(process)
    await theirs.rollback()

    assert interrupted.code == 130
    assert "Interrupted" in interrupted.err
    assert f"{TITLES_PER_TRANSACTION} of {titles} titles" in interrupted.out
    assert (await _counts(connection))["series"] == TITLES_PER_TRANSACTION
    assert (await _counts(connection))["episode"] == TITLES_PER_TRANSACTION
    completed = await run_import(path)
    assert re.search(rf"^series +20 +0 +{TITLES_PER_TRANSACTION}$", completed.out, re.MULTILINE)
    assert (await _counts(connection))["media_asset_variant"] == 3 * titles


async def test_a_slug_that_somebody_takes_meanwhile_costs_no_title(
    write: Write, database: str, connection: asyncpg.Connection
) -> None:
    theirs = connection.transaction()
    await theirs.start()
    await connection.execute("INSERT INTO catalog.series (slug, title) VALUES ('low-tide', 'X')")

    path = write(*LINES)
    async with _running("examples.import_catalog", path, DATABASE_URL=database) as process:
        await _waits_for_a_lock(connection)
        await theirs.commit()
        ended = await _end_of(process)

    assert (ended.code, ended.err) == (0, "")
    assert await _slugs(connection) == [
        *("high-and-dry", "low-tide", "low-tide-2020", "low-tide-2021", "title-m3")
    ]


async def test_a_lost_connection_says_what_is_written(
    run_import: Import, write: Write, database: str, connection: asyncpg.Connection
) -> None:
    path = write(*LINES)
    async with connection.transaction():
        await connection.execute("LOCK TABLE catalog.season IN EXCLUSIVE MODE")
        async with _running("examples.import_catalog", path, DATABASE_URL=database) as process:
            importer = await _waits_for_a_lock(connection)
            await connection.execute("SELECT pg_terminate_backend($1)", importer)
            ended = await _end_of(process)

    assert ended.code == 4
    assert "DATABASE_URL" in ended.err
    assert "Traceback" not in ended.err
    assert (await run_import(path)).code == 0
    assert await _counts(connection) == COUNTS


async def test_the_sample_catalog_is_loaded_once(
    database: str, connection: asyncpg.Connection
) -> None:
    async def load() -> Ended:
        async with _running("examples.sample_catalog", DATABASE_URL=database) as process:
            return await _end_of(process)

    first, events = await load(), await _events(connection)
    again = await load()

    assert (first.code, again.code) == (0, 0)
    assert await _events(connection) == events > 0
    counts = await _counts(connection)
    assert (counts["category"], counts["series"], counts["episode"]) == (4, 8, 29)
    assert await connection.fetchval(
        "SELECT captions ->> 'de' FROM catalog.episode WHERE slug = 'tidewater-s1e1'"
    )


async def test_the_list_that_make_run_suggests_shows_what_an_import_does(
    run_import: Import, connection: asyncpg.Connection
) -> None:
    ended = await run_import(CHECKOUT / "examples" / "titles.csv")

    assert ended.code == 0
    assert ended.err.startswith("line 7: date_added '31-Feb-24'")
    assert await _slugs(connection) == [
        "alesund",
        "alesund-2024",
        "signal-and-noise",
        "the-ferryman-of-lake-orrin",
        "title-n4",
    ]
