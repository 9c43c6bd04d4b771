"""Clients that send nonsense, or nothing, or take nothing: nobody else may notice them."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import os
import random
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.exceptions import GRPCError
from hostile_http2 import METADATA, SNAPSHOT, framed, wire
from processes import eventually
from snapshot_processes import TOKEN, SnapshotServer, snapshot_servers

from content_proto.content_pb2 import (
    CatalogSnapshotChunk,
    CatalogSnapshotRequest,
    GetVideoMetadataRequest,
    GetVideoMetadataResponse,
)
from snapshot_server.content.cursor import Cursor
from snapshot_server.errors import CursorMalformed

pytestmark = pytest.mark.timeout(300)

ADMITTED = (b"authorization", f"Bearer {TOKEN}".encode())
SEED = 11
STALLED_S = 2
POOLS = 16
"""Connections to PostgreSQL that the server may have."""
GROWTH_MIB = 60
FILLED = """
WITH s AS (
     INSERT INTO catalog.series (slug, title, synopsis, status, visibility)
     SELECT 's-' || n, 'Title', repeat('x', $1), 'PUBLISHED', 'PUBLIC'
       FROM generate_series(1, $2::int) AS n RETURNING id
)
INSERT INTO catalog.episode (slug, series_id, title, status, visibility)
SELECT 'e-1', id, 'Episode', 'PUBLISHED', 'PUBLIC' FROM s LIMIT 1 RETURNING id::text
"""


class RawCodec(CodecBase):
    """Messages are bytes already."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, _: Any) -> bytes:  # noqa: ANN401
        return bytes(message)

    def decode(self, data: bytes, _: Any) -> bytes:  # noqa: ANN401
        return data


class Caller:
    """A client that sends any bytes as its request."""

    def __init__(self, port: int) -> None:
        self._channel = Channel(
            "127.0.0.1", port, codec=RawCodec(), status_details_codec=ProtoStatusDetailsCodec()
        )

    def close(self) -> None:
        self._channel.close()

    async def call(self, path: bytes, body: bytes) -> tuple[Status, list[bytes], list[Any]]:
        """How it ended, which messages came, and the details of the status."""
        messages: list[bytes] = []
        cardinality = Cardinality.UNARY_STREAM if path == SNAPSHOT else Cardinality.UNARY_UNARY
        try:
            async with self._channel.request(
                path.decode(),
                cardinality,
                bytes,
                bytes,
                timeout=60,
                metadata=dict([_decoded(ADMITTED)]),
            ) as stream:
                await stream.send_message(body, end=True)
                while (message := await stream.recv_message()) is not None:
                    messages.append(message)
        except GRPCError as exc:
            return exc.status, messages, list(exc.details or ())
        return Status.OK, messages, []


class Undisturbed:
    """A server, and somebody who asks it for one video all the time."""

    def __init__(self, server: SnapshotServer, port: int, dsn: str, video: str) -> None:
        self.port, self.dsn, self.video = port, dsn, video
        self._server = server
        self._answers: Counter[str] = Counter()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """In the end all is as it was, and everybody else was answered."""
        caller, over = Caller(self.port), asyncio.Event()
        body = GetVideoMetadataRequest(video_id=self.video).SerializeToString()

        async def ask() -> None:
            while not over.is_set():
                status, messages, _ = await caller.call(METADATA, body)
                title = GetVideoMetadataResponse.FromString(messages[0]).title if messages else ""
                self._answers[f"{status.name} {title}"] += 1
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(ask())
        try:
            await eventually(self._has_answered)
            files, memory_kib = await self._open_files(), self._memory_kib()
            yield
            await eventually(self._has_answered)
        finally:
            over.set()
            await asking
            caller.close()
        assert self._server.is_running
        assert self._answers.keys() == {"OK Episode"}, self._answers
        assert [line for line in self._server.lines() if line["level"] == "error"] == []
        await eventually(lambda: self._are_open(files - 1))
        assert self._memory_kib() - memory_kib < GROWTH_MIB << 10

    async def whole(self) -> list[CatalogSnapshotChunk]:
        """A sync as it should be."""
        caller = Caller(self.port)
        try:
            status, messages, _ = await caller.call(SNAPSHOT, b"")
        finally:
            caller.close()
        assert status is Status.OK
        return [CatalogSnapshotChunk.FromString(message) for message in messages]

    async def _has_answered(self) -> bool:
        """Whether one more was answered since."""
        before = self._answers.total()
        await asyncio.sleep(0.05)
        return self._answers.total() > before

    async def _open_files(self) -> int:
        """But for the connections to PostgreSQL, which come and go within their pools."""
        connection = await asyncpg.connect(self.dsn)
        try:
            its: int = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'catalog-%'"
                " AND datname = current_database()"
            )
        finally:
            await connection.close()
        assert its <= POOLS
        return len(os.listdir(f"/proc/{self._server.pid}/fd")) - its  # noqa: PTH208

    async def _are_open(self, count: int) -> bool:
        return await self._open_files() <= count

    def _memory_kib(self) -> int:
        status = Path(f"/proc/{self._server.pid}/status").read_text("utf-8")
        return int(status.partition("VmRSS:")[2].split()[0])


@asynccontextmanager
async def serving(
    dsn: str, folder: Path, *, items: int = 5, size: int = 10
) -> AsyncIterator[Undisturbed]:
    """A server with so many series, each with a synopsis of that many characters."""
    connection = await asyncpg.connect(dsn)
    try:
        video = await connection.fetchval(FILLED, size, items)
    finally:
        await connection.close()
    with snapshot_servers(dsn, folder) as start:
        server = start(SNAPSHOT_STALLED_READER_S=str(STALLED_S), SNAPSHOT_MAX_FULL_SYNCS="50")
        port = await server.port()
        await server.said("feed.rebuilt")
        yield Undisturbed(server, port, dsn, video)


@pytest.fixture
async def undisturbed(own_database: str, tmp_path: Path) -> AsyncIterator[Undisturbed]:
    async with serving(own_database, tmp_path) as found:
        yield found


async def in_parallel(work: Iterable[Awaitable[None]], *, at_once: int = 8) -> None:
    turn = asyncio.Semaphore(at_once)

    async def one(some: Awaitable[None]) -> None:
        async with turn:
            await some

    async with asyncio.TaskGroup() as tasks:
        for some in work:
            tasks.create_task(one(some))


async def test_a_request_that_does_not_parse_is_invalid_and_never_a_sync_of_everything(
    undisturbed: Undisturbed,
) -> None:
    dice, told = random.Random(SEED), Counter[str]()
    request = CatalogSnapshotRequest(cursor="1795372373609-404", limit=7, at_least="1-0")
    whole = request.SerializeToString()
    cut = [whole[:length] for length in (1, 2, 10, 20, 22, 24, len(whole) - 1)]
    # A number as the cursor, a group, a fixed64; bytes as the limit; a number as at_least.
    mistyped = [b"\x08\x01", b"\x0b\x0c", b"\x09" + bytes(8), b"\x12\x01x", b"\x18\x05"]
    not_text = [b"\x0a\x02\xff\xfe", b"\x1a\x03\xed\xa0\x80"]
    endless = [b"\xff" * 4, b"\xff" * 11, b"\x0a\xff\xff\xff\xff\x0f", b"\x00", b"\x07"]
    noise = [dice.randbytes(dice.randrange(1, 60)) for _ in range(1000)]

    async def check(path: bytes, body: bytes, *, surely: bool) -> None:
        status, messages, _ = await caller.call(path, body)
        told[status.name] += 1
        if surely or not parses(path, body):
            assert (status, messages) == (Status.INVALID_ARGUMENT, []), (path, body)
        else:
            assert status in {Status.OK, Status.NOT_FOUND, *REFUSED}, (path, body)

    async with undisturbed.watched():
        caller = Caller(undisturbed.port)
        sure = [*cut, *mistyped, *not_text, *endless]
        await in_parallel(check(SNAPSHOT, body, surely=True) for body in sure)
        await in_parallel(check(SNAPSHOT, body, surely=False) for body in noise)
        await in_parallel(check(METADATA, body, surely=False) for body in noise[:300])
        caller.close()
    assert told["INVALID_ARGUMENT"] > 1000


REFUSED = {Status.INVALID_ARGUMENT, Status.OUT_OF_RANGE, Status.FAILED_PRECONDITION}


def parses(path: bytes, body: bytes) -> bool:
    request = CatalogSnapshotRequest if path == SNAPSHOT else GetVideoMetadataRequest
    try:
        request.FromString(body)
    except DecodeError:
        return False
    return True


async def test_a_cursor_that_is_not_ours_is_refused_with_its_reason(
    undisturbed: Undisturbed,
) -> None:
    dice = random.Random(SEED)
    [*_, last] = await undisturbed.whole()
    version = Cursor.parse(last.position).version
    ours = str(Cursor(version, version, 5, 1))
    noise = [
        dice.randbytes(dice.randrange(0, 80)).decode(
            "latin-1" if dice.random() < 0.5 else "utf-8", "ignore"
        )
        for _ in range(500)
    ]
    spoilt = [spoil(ours, dice) for _ in range(300)] + [
        spoil(last.position, dice) for _ in range(200)
    ]
    later = str(Cursor(version, version + (1 << 50), 5, 1))
    known = [
        *[
            (text, "CURSOR_MALFORMED")
            for text in ("", "x" * 60_000, "p1.", "0-", "1-1048576", "é-1")
        ],
        *[(text, "CURSOR_FUTURE") for text in ("8796093022207-0", later)],
        *[(text, "CURSOR_EXPIRED") for text in ("0-1", "1-0", str(Cursor(1, version, 5, 1)))],
    ]
    told: Counter[str] = Counter()

    async def check(text: str, reason: str | None) -> None:
        body = CatalogSnapshotRequest(cursor=text).SerializeToString()
        status, messages, details = await caller.call(SNAPSHOT, body)
        if reason is None and status is Status.OK:
            # What is left of a cursor of ours may be one, too.
            Cursor.parse(text)
            return
        [info] = [detail for detail in details if isinstance(detail, ErrorInfo)]
        told[info.reason] += 1
        assert messages == []
        assert info.domain == "content.v1"
        assert {"oldest", "newest"} <= info.metadata.keys()
        assert (reason or info.reason) == info.reason, (text, status)
        assert STATUS_OF[info.reason] is status
        if info.reason == "CURSOR_MALFORMED":
            with pytest.raises(CursorMalformed):
                Cursor.parse(text)

    async with undisturbed.watched():
        caller = Caller(undisturbed.port)
        connection = await asyncpg.connect(undisturbed.dsn)
        await connection.execute("UPDATE feed.state SET purged = version - 1")
        await connection.close()
        await in_parallel(check(text, reason) for text, reason in known)
        await in_parallel(check(text, None) for text in noise + spoilt)
        caller.close()
    assert told["CURSOR_MALFORMED"] > 800


STATUS_OF = {
    "CURSOR_MALFORMED": Status.INVALID_ARGUMENT,
    "CURSOR_EXPIRED": Status.OUT_OF_RANGE,
    "CURSOR_FUTURE": Status.FAILED_PRECONDITION,
    "CURSOR_ABANDONED": Status.FAILED_PRECONDITION,
}


def spoil(cursor: str, dice: random.Random) -> str:
    """Change one character, leave one out, or put one in."""
    at, new = dice.randrange(len(cursor)), chr(dice.randrange(32, 127))
    return cursor[:at] + dice.choice(["", new, new + cursor[at]]) + cursor[at + 1 :]


async def test_an_oversized_request_is_refused_and_not_kept(undisturbed: Undisturbed) -> None:
    big = CatalogSnapshotRequest(cursor="1" * (8 << 20)).SerializeToString()
    async with undisturbed.watched():

        async def send(body: bytes, expected: Status) -> None:
            async with wire(undisturbed.port) as connection:
                call = await connection.open(SNAPSHOT, ADMITTED, body=body, end=True)
                assert (await connection.answered(call)).status == expected.value

        too_large, broken = Status.RESOURCE_EXHAUSTED, Status.INVALID_ARGUMENT
        await in_parallel(send(framed(big), too_large) for _ in range(12))
        claims = [(1001, broken), (1 << 20, too_large), ((1 << 32) - 1, too_large)] * 5
        await in_parallel(send(framed(b"x" * 1000, size=size), how) for size, how in claims)


async def test_without_one_of_its_tokens_nothing_is_answered_and_nothing_read(
    undisturbed: Undisturbed,
) -> None:
    name, right = ADMITTED
    shown: list[list[tuple[bytes, bytes]]] = [
        *[[], [ADMITTED, ADMITTED], [(name, b"wrong"), ADMITTED], [ADMITTED, (name, b"")]],
        *[[(name, right[:-1])], [(name, right + b"x")], [(name, right.upper())], [(name, b"")]],
        *[[(name, b"Basic " + right)], [(name, b"Bearer " + right)], [(name, b"Bearer")]],
        *[[(name, b"\xff\xfe\x80")], [(name, "Bearer schlüssel".encode())], [(name, b"x" * 9000)]],
        *[[(b"x-authorization", right)], [(name + b"-bin", b64encode(right))]],
    ]
    bodies = [framed(b""), framed(b"\xff" * 4), framed(b"", size=5000), b"\x00"]
    async with undisturbed.watched():
        async with wire(undisturbed.port) as connection:
            for headers, path, body in product(shown, (SNAPSHOT, METADATA), bodies):
                call = await connection.open(path, *headers, body=body, end=True)
                answer = await connection.answered(call)
                assert answer.status == Status.UNAUTHENTICATED.value, (headers, answer)
                assert answer.data == 0
        # Not HTTP/2 any more: the connection ends.
        async with wire(undisturbed.port) as connection:
            forbidden = name, right + b"\x00"
            call = await connection.open(SNAPSHOT, forbidden, body=framed(b""), end=True)
            assert (await connection.answered(call)).data == 0


async def test_two_hundred_idle_streams_keep_nobody_waiting(undisturbed: Undisturbed) -> None:
    async with undisturbed.watched(), AsyncExitStack() as opened:
        for _ in range(4):
            connection = await opened.enter_async_context(wire(undisturbed.port))
            for number in range(50):
                path = METADATA if number % 2 else SNAPSHOT
                # Nothing of the request, a part of its head, a part of its message.
                body = (None, b"\x00\x00", framed(b"\x0a\x10", size=18))[number % 3]
                await connection.open(path, ADMITTED, body=body, end=False)
        assert (await undisturbed.whole())[-1].position


async def test_readers_that_stop_reading_are_given_up_and_keep_nobody_waiting(
    own_database: str, tmp_path: Path
) -> None:
    async with serving(own_database, tmp_path, items=3000, size=4000) as undisturbed:
        body = framed(CatalogSnapshotRequest(limit=50).SerializeToString())
        async with undisturbed.watched():

            async def stop_reading() -> None:
                """Its windows are never opened again."""
                async with wire(undisturbed.port, takes=False) as connection:
                    call = await connection.open(SNAPSHOT, ADMITTED, body=body, end=True)
                    answer = await connection.answered(call)
                    assert answer.data < 70_000
                    assert answer.status in {None, Status.RESOURCE_EXHAUSTED.value}

            async def take_nothing() -> None:
                """What was sent lies in the kernel; in the end the connection is broken off."""
                async with wire(undisturbed.port, room=1 << 30) as connection:
                    await connection.open(SNAPSHOT, ADMITTED, body=body, end=True)
                    await connection.broken()

            await in_parallel(
                [*(stop_reading() for _ in range(8)), *(take_nothing() for _ in range(8))]
            )
            assert sum(len(chunk.items) for chunk in await undisturbed.whole()) == 3001


async def test_garbage_on_the_port_ends_no_more_than_its_own_connection(
    undisturbed: Undisturbed,
) -> None:
    dice = random.Random(SEED)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: dice.randbytes(dice.randrange(1, 3000)),
        lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500),
        lambda: preface[: dice.randrange(len(preface))],
        lambda: preface + dice.randbytes(200),
        lambda: preface + settings + dice.randbytes(200),
        # A frame of headers that are no HPACK, data on a stream that was never opened, a frame
        # of 16 MB, a ping of the wrong length, a window that overflows.
        lambda: preface + settings + b"\x00\x00\x05\x01\x05\x00\x00\x00\x01" + b"\xff" * 5,
        lambda: preface + settings + b"\x00\x00\x01\x00\x00\x00\x00\x00\x09x",
        lambda: preface + settings + b"\xff\xff\xff\x01\x05\x00\x00\x00\x01" + bytes(1000),
        lambda: preface + settings + b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x",
        lambda: preface + settings + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
    ]

    async def throw(garbage: bytes, *, waits: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", undisturbed.port)
        with suppress(ConnectionError):
            writer.write(garbage)
            await writer.drain()
            if waits:
                writer.write_eof()
                async with asyncio.timeout(20):
                    while await reader.read(65536):
                        pass
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with undisturbed.watched():
        thrown = [(kind(), waits) for kind in kinds for waits in (True, False) for _ in range(8)]
        dice.shuffle(thrown)
        await in_parallel(throw(garbage, waits=waits) for garbage, waits in thrown)
        assert (await undisturbed.whole())[-1].position


def _decoded(header: tuple[bytes, bytes]) -> tuple[str, str]:
    return header[0].decode(), header[1].decode()
