"""The whole of `make run`, with its real programs: what its header promises is so."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import asyncpg
import pytest
from launcher import Run, all_gone, pids_of
from processes import ROOT, eventually

from consumer.reference.search.answers import search
from embedded.folder import DevFolder
from embedded.programs import PROGRAMS

PACKAGES = (
    *("consumer", "content_proto", "examples", "outbox", "process", "publisher"),
    *("schema.sql", "snapshot_server", "viewer"),
)
FIRST_START_S = 60
_RETITLE = "UPDATE catalog.series SET title = $2 WHERE slug = $1"
_RENAME = "UPDATE catalog.category SET name = $1 WHERE slug = 'kitchen'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fresh checkout: the launcher keeps its state beside itself."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "embedded", root / "embedded")
    for name in PACKAGES:
        (root / name).symlink_to(ROOT / name)
    return root


async def test_what_it_shows_to_try_works_and_one_write_changes_both(root: Path) -> None:
    run = Run(root)
    try:
        async with asyncio.timeout(FIRST_START_S):
            header = await asyncio.to_thread(run.until, "Events appear")
        pids = pids_of(root)
        await _try(root, header)
    finally:
        code = run.end(signal.SIGINT)
    assert code == 0
    assert all_gone(pids)


async def _try(root: Path, header: str) -> None:
    page, slug = _shown(r"curl (http://127\.0\.0\.1:\d+/v1/catalog/series/(\S+))", header)
    [word] = _shown(r'make search Q="(\S+)"', header)
    assert slug in [answer["slug"] for answer in await _query(root, word)]
    assert (await _page(page))["slug"] == slug

    index = Path(DevFolder(root).address("SEARCH_INDEX"))
    await eventually(partial(_all_at_work, root))
    connection = await asyncpg.connect(DevFolder(root).address("DATABASE_URL"))
    try:
        took_s = []
        for number in range(5):
            began = time.monotonic()
            await connection.execute(_RETITLE, slug, f"Unheard{number}")
            await _is_found(index, f"unheard{number}", 1 + 3)
            took_s.append(time.monotonic() - began)
        # One of them may meet a busy moment of the machine.
        assert median(took_s) < 1
        await connection.execute(_RENAME, "Scullery")
        await _is_found(index, "scullery", 2 + 6)
    finally:
        await connection.close()

    async def shows_it() -> bool:
        return bool((await _page(page))["title"] == "Unheard4")

    await eventually(shows_it)


async def _all_at_work(root: Path) -> bool:
    """Those too that `make run` starts last."""
    folder = DevFolder(root).path
    readers = [program.log(folder) for program in PROGRAMS if program.reads]
    return all("stream.taken" in log.read_text("utf-8") for log in readers)


async def _is_found(index: Path, word: str, times: int) -> None:
    """Return once it is, in a series and all its episodes."""

    async def is_found() -> bool:
        return len(search(index, word, most=99)) == times

    await eventually(is_found)


def _shown(pattern: str, header: str) -> tuple[str, ...]:
    found = re.search(pattern, header)
    assert found, header
    return found.groups()


async def _query(root: Path, word: str) -> list[dict[str, Any]]:
    """What `make search` answers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "query", "--json", word),
        cwd=root,
        env={"PATH": os.environ["PATH"], "SEARCH_INDEX": DevFolder(root).address("SEARCH_INDEX")},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    answers: list[dict[str, Any]] = json.loads(out)
    return answers


async def _page(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        page: dict[str, Any] = await response.json()
        return page
