"""A copy of the catalog is begun, goes on and is mended, whatever breaks."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from faulty_service import POSITION, FaultyService, answered, falls_silent, item, serving
from google.rpc.error_details_pb2 import ErrorInfo
from grpclib.const import Status

import consumer
from consumer.reference.search.answers import CLOSE, OPEN, search
from consumer.reference.search.index import SearchIndex
from consumer.syncing.bootstrapping import Target, bootstrap, furthest
from consumer.syncing.sync_reports import BeganAnew, EventUnknown, Interrupted, Report, Synced
from content_proto.content_pb2 import CatalogSummary
from outbox.position import Position
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.errors import SummaryMismatch
from snapshot_server.client.tally import Totals

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
END = Position.parse(POSITION)
EVENT = Position(5, 0)
EXPIRED = answered(Status.OUT_OF_RANGE, "too old", ErrorInfo(reason="CURSOR_EXPIRED"))
NO_SUCH_EVENT = answered(
    Status.FAILED_PRECONDITION, "of the future", ErrorInfo(reason="AT_LEAST_FUTURE")
)
# A consumer that is to be killed.
BOOTSTRAP = """
import asyncio, sys
from pathlib import Path
from consumer.syncing.bootstrapping import bootstrap
from consumer.reference.search.index import SearchIndex
from snapshot_server.client.client import SnapshotClient
async def main():
    path, address = sys.argv[1:]
    async with SearchIndex.opened(Path(path)) as index, SnapshotClient(address) as client:
        await bootstrap(client, index, limit=2)
asyncio.run(main())
"""


class Cut(Exception):
    """The consumer has ended here."""


class Fragile:
    """A target that breaks off before or after its call number *at*."""

    def __init__(self, inner: Target, at: int, *, after: bool) -> None:
        self._inner = inner
        self._left = at
        self._after = after

    async def bookmark(self) -> str | None:
        return await self._called(self._inner.bookmark())

    async def begin_anew(self) -> None:
        await self._called(self._inner.begin_anew())

    async def apply(self, chunk: Chunk) -> Totals | None:
        return await self._called(self._inner.apply(chunk))

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        self._left -= 1
        if self._left == 0 and not self._after:
            work.close()
            raise Cut
        done = await work
        if self._left == 0:
            raise Cut
        return done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.db"


@pytest.fixture
async def index(path: Path) -> AsyncIterator[SearchIndex]:
    async with SearchIndex.opened(path) as index:
        yield index


def titles(path: Path) -> list[str]:
    """All that is found; the service's items are called "no 1", "no 2", and so on."""
    found = search(path, "no", most=99)
    return sorted(answer.title.replace(OPEN, "").replace(CLOSE, "") for answer in found)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it is another process that we wait for
            await asyncio.sleep(0.02)


def names(*numbers: int) -> list[str]:
    return [f"no {number}" for number in numbers]


async def test_it_ends_with_the_catalog_and_says_how(index: SearchIndex, path: Path) -> None:
    seen: list[Report] = []
    service = FaultyService(5, [(1, answered(Status.UNAVAILABLE, "draining"))])
    async with serving(service) as address, SnapshotClient(address) as client:
        assert await bootstrap(client, index, limit=2, observe=seen.append) == END
        assert await index.bookmark() == POSITION
    assert titles(path) == names(1, 2, 3, 4, 5)
    assert [type(report) for report in seen] == [Interrupted, Synced]
    assert isinstance(seen[1], Synced)
    assert seen[1][:3] == (END, 5, 0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_broken_off_anywhere_it_goes_on_where_it_was(
    index: SearchIndex, path: Path, *, after: bool
) -> None:
    """Before and after each of its transactions, of one more sync each time."""
    await index.apply(Chunk([item(99)], [], "gone", None, None))
    interrupted = 0
    for at in range(1, 100):
        service = FaultyService(5)
        await index.begin_anew()
        async with serving(service) as address, SnapshotClient(address) as client:
            with suppress(Cut):
                await bootstrap(client, Fragile(index, at, after=after), limit=2)
                break
            interrupted += 1
            if await index.bookmark() != POSITION:
                assert await bootstrap(client, index, limit=2) == END
        assert titles(path) == names(1, 2, 3, 4, 5)
        # What was applied is not asked for again.
        assert len(service.requests) <= 2
    assert interrupted == 5


async def test_killed_it_goes_on_where_it_was(path: Path) -> None:
    service = FaultyService(7, [(2, falls_silent)])
    async with serving(service) as address:
        killed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BOOTSTRAP, str(path), address), cwd=ROOT
        )
        await eventually(lambda: bookmark_in(path) == "c4")
        killed.kill()
        await killed.wait()
        async with SearchIndex.opened(path) as index, SnapshotClient(address) as client:
            await bootstrap(client, index, limit=2)
    assert titles(path) == names(1, 2, 3, 4, 5, 6, 7)
    assert [request.cursor for request in service.requests] == ["", "c4"]


def bookmark_in(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(path)) as database:
            bookmark: str | None = database.execute("SELECT bookmark FROM state").fetchone()[0]
            return bookmark
    except sqlite3.OperationalError:
        return None


async def test_a_refused_cursor_begins_anew_and_what_does_not_come_again_goes(
    index: SearchIndex, path: Path
) -> None:
    await index.apply(Chunk([item(1), item(99)], [], None, "1-0", None))
    seen: list[Report] = []
    service = FaultyService(4, [(0, EXPIRED)])
    async with serving(service) as address, SnapshotClient(address) as client:
        # Interrupted in the middle of it, the old item is still found.
        with pytest.raises(Cut):
            await bootstrap(client, Fragile(index, 3, after=True), limit=2, observe=seen.append)
        assert titles(path) == names(1, 2, 99)
        assert await bootstrap(client, index, limit=2) == END
    assert titles(path) == names(1, 2, 3, 4)
    assert [request.cursor for request in service.requests] == ["1-0", "", "c2"]
    assert [type(report) for report in seen] == [BeganAnew]


async def test_a_copy_that_is_not_what_it_must_be_begins_anew(
    index: SearchIndex, path: Path
) -> None:
    await index.apply(Chunk([item(99)], [], None, "1-0", None))
    # Nothing is changed after the position that it claims to have, and yet it lacks three items.
    service = FaultyService(3)
    await index.apply(Chunk([], [], "c3", None, None))
    async with serving(service) as address, SnapshotClient(address) as client:
        assert await bootstrap(client, index) == END
    assert titles(path) == names(1, 2, 3)
    assert [request.cursor for request in service.requests] == ["c3", ""]


async def test_what_beginning_anew_does_not_mend_is_said(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultyService, "summary", CatalogSummary(episodes=4, digest=1))
    async with serving(FaultyService(3)) as address, SnapshotClient(address) as client:
        with pytest.raises(SummaryMismatch):
            await bootstrap(client, index)


async def test_an_event_that_nobody_knows_is_not_waited_for(index: SearchIndex, path: Path) -> None:
    seen: list[Report] = []
    service = FaultyService(2, [(0, NO_SUCH_EVENT)])
    async with serving(service) as address, SnapshotClient(address) as client:
        assert await bootstrap(client, index, at_least=EVENT, observe=seen.append) == END
    assert titles(path) == names(1, 2)
    assert [request.at_least for request in service.requests] == [str(EVENT), ""]
    assert isinstance(seen[0], EventUnknown)


@pytest.mark.parametrize(
    ("bookmark", "after", "cursor"),
    [
        (None, None, None),
        (None, EVENT, None),
        ("p1.abc", EVENT, "p1.abc"),
        ("4-7", None, "4-7"),
        ("4-7", EVENT, "5-0"),
        ("5-1", EVENT, "5-1"),
    ],
)
def test_it_begins_at_the_furthest_place_up_to_which_nothing_is_missing(
    bookmark: str | None, after: Position | None, cursor: str | None
) -> None:
    assert furthest(bookmark, after) == cursor


def test_the_package_gives_the_function_whatever_was_imported_before() -> None:
    assert consumer.Doorbell.__name__ == "Doorbell"
    for _ in range(2):
        assert consumer.bootstrap is bootstrap
