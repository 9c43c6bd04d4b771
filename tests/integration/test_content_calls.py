"""What a client may do to the service without harm to others; and how calls end."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import asyncpg
import grpc
import grpc.aio
import pytest
from feeding import (
    SNAPSHOT_PATH,
    VIDEO_PATH,
    Feed,
    Served,
    copy,
    ended,
    episodes,
    first_of,
    foreign,
    request,
    serving,
    snapshot,
    text_at,
)
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes

from content_proto import content_pb2 as pb
from embedded.postgres import Postgres
from snapshot_server.content.limits import Limits
from snapshot_server.content.reports import SyncOutcome, VideoRead

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def feed(connection: asyncpg.Connection) -> Feed:
    return Feed(connection)


def _headers(path: str) -> list[tuple[str, str]]:
    return [
        *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")),
        *(("content-type", "application/grpc"), ("te", "trailers")),
    ]


class Raw:
    """HTTP/2 by hand, one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection(H2Configuration(header_encoding="ascii"))
        self._h2.initiate_connection()

    async def call(self, path: str, *data: bytes, end: bool = True) -> dict[str, str]:
        """The headers and trailers of the answer; also `reset`, if it was."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, _headers(path), end_stream=end and not data)
        for number, piece in enumerate(data):
            self._h2.send_data(stream, piece, end_stream=end and number == len(data) - 1)
        self._writer.write(self._h2.data_to_send())
        found: dict[str, str] = {}
        async with asyncio.timeout(20):
            while received := await self._reader.read(1 << 16):
                for event in self._h2.receive_data(received):
                    if getattr(event, "stream_id", None) != stream:
                        continue
                    if isinstance(event, ResponseReceived | TrailersReceived):
                        found |= {str(name): str(value) for name, value in event.headers or ()}
                    elif isinstance(event, DataReceived):
                        found["data"] = found.get("data", "") + "."
                    elif isinstance(event, StreamReset):
                        return found | {"reset": str(event.error_code)}
                    elif isinstance(event, StreamEnded):
                        return found
                self._writer.write(self._h2.data_to_send())
        return found

    async def ask(self, path: str, data: bytes, *, window: int) -> None:
        """Call, let the server send as much as *window*, and read nothing of it."""
        self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._h2.increment_flow_control_window(window - 65_535)
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, _headers(path))
        self._h2.send_data(stream, data, end_stream=True)
        self._writer.write(self._h2.data_to_send())
        await self._writer.drain()

    async def is_broken_off(self) -> bool:
        """Whether the server ends the connection, instead of keeping it."""
        try:
            while await self._reader.read(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True


@asynccontextmanager
async def raw(served: Served) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()


def framed(message: bytes, *, compressed: int = 0, size: int | None = None) -> bytes:
    return struct.pack(">BI", compressed, len(message) if size is None else size) + message


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ((), Status.INVALID_ARGUMENT),
        ((b"\0\0\0",), Status.INVALID_ARGUMENT),
        ((framed(b"\x0a\x03a", size=10),), Status.INVALID_ARGUMENT),
        ((framed(b"", size=10),), Status.INVALID_ARGUMENT),
        ((framed(b"\xff\xff\xff\xff"),), Status.INVALID_ARGUMENT),
        # A cursor that is cut off, one that is a number, one that is not UTF-8.
        ((framed(b"\x0a\x05ab"),), Status.INVALID_ARGUMENT),
        ((framed(b"\x08\x05"),), Status.INVALID_ARGUMENT),
        ((framed(b"\x0a\x02\xff\xfe"),), Status.INVALID_ARGUMENT),
        ((framed(b"\x1d\0\0\0\0"),), Status.INVALID_ARGUMENT),
        ((framed(b"\x12\x01a"),), Status.INVALID_ARGUMENT),
        ((framed(b"", compressed=1),), Status.UNIMPLEMENTED),
        ((framed(b"", size=2**32 - 1),), Status.RESOURCE_EXHAUSTED),
        ((framed(b"\x0a" + b"\x80" * 70_000)[:16_000],), Status.RESOURCE_EXHAUSTED),
        # A field that nobody knows may come from a newer client.
        ((framed(b"\x78\x01"),), Status.OK),
        ((framed(b""),), Status.OK),
    ],
)
async def test_a_request_that_cannot_be_read_is_never_taken_for_an_empty_one(
    database: str, feed: Feed, data: tuple[bytes, ...], status: Status
) -> None:
    await feed.write(episodes(2))
    async with serving(database) as served, raw(served) as connection:
        answer = await connection.call(SNAPSHOT_PATH, *data)
        assert answer["grpc-status"] == str(status.value)
        assert ("data" in answer) == (status is Status.OK)
        # The connection is as good as before.
        answer = await connection.call(SNAPSHOT_PATH, framed(b""))
        assert answer["grpc-status"] == "0"


async def test_a_call_that_sends_no_request_ends_and_is_not_waited_for(
    database: str, feed: Feed
) -> None:
    await feed.write()
    async with serving(database, Limits(feed_wait_s=0.3)) as served, raw(served) as connection:
        calling = asyncio.create_task(connection.call(SNAPSHOT_PATH, end=False))
        async with asyncio.timeout(5):
            await served.service.drained()
        assert (await calling)["grpc-status"] == str(Status.DEADLINE_EXCEEDED.value)


async def test_a_reader_that_stops_is_cut_off_and_can_go_on(database: str, feed: Feed) -> None:
    await feed.write(episodes(100), size=200_000)
    async with (
        serving(database, Limits(stalled_reader_s=0.3)) as served,
        foreign(served) as channel,
    ):
        call = snapshot(channel, request(limit=5))
        first = await first_of(call)
        await served.observed.sync(SyncOutcome.STALLED)
        async with asyncio.timeout(5):
            await served.service.drained()
        served.assert_nothing_is_held()
        # Others on the same connection are served, before it has read anything more.
        answer = await first_of(snapshot(channel, request(limit=1, cursor=first.next_cursor)))
        assert answer.items
        assert await ended(call) is EXHAUSTED


async def test_a_connection_that_takes_nothing_is_broken_off(database: str, feed: Feed) -> None:
    await feed.write(episodes(100), size=900_000)
    async with (
        serving(database, Limits(stalled_reader_s=0.3)) as served,
        raw(served) as connection,
    ):
        await connection.ask(SNAPSHOT_PATH, framed(b""), window=2**31 - 1)
        await served.observed.sync(SyncOutcome.STALLED)
        async with asyncio.timeout(5):
            await served.service.drained()
            assert await connection.is_broken_off()
        served.assert_nothing_is_held()


async def test_a_client_that_goes_away_leaves_nothing_behind(database: str, feed: Feed) -> None:
    await feed.write(episodes(100), size=200_000)
    async with serving(database) as served:
        async with foreign(served) as channel:
            for _ in range(5):
                call = snapshot(channel, request(limit=5))
                await first_of(call)
                call.cancel()
        await served.observed.sync(SyncOutcome.CANCELLED)
        async with asyncio.timeout(10):
            await served.service.drained()
        served.assert_nothing_is_held()


async def test_draining_ends_syncs_at_a_chunk_and_refuses_new_ones(
    database: str, feed: Feed, connection: asyncpg.Connection
) -> None:
    keys = episodes(100)
    await feed.write(keys, size=200_000)
    await feed.announce(5)
    async with serving(database) as served, foreign(served) as channel:
        running = snapshot(channel, request(limit=2))
        waiting = snapshot(channel, request(at_least=text_at(5)))
        last = await first_of(running)
        served.service.drain()
        try:
            while True:
                last = await first_of(running)
        except (grpc.aio.AioRpcError, AssertionError):
            assert await running.code() is grpc.StatusCode.UNAVAILABLE
        assert last.next_cursor
        assert await ended(waiting) is grpc.StatusCode.UNAVAILABLE
        assert await ended(snapshot(channel)) is grpc.StatusCode.UNAVAILABLE
        episode = await video(connection)
        assert (await metadata(channel, str(episode))).id == str(episode)
        async with asyncio.timeout(5):
            await served.service.drained()
        await served.observed.sync(SyncOutcome.DRAINED)


async def test_a_database_that_is_away_is_unavailable_and_keeps_its_secrets(
    postgres: Postgres, own_database: str
) -> None:
    connection = await asyncpg.connect(own_database)
    await Feed(connection).write(episodes(3))
    await connection.close()
    async with serving(own_database) as served, foreign(served) as channel:
        assert (await copy(channel)).items
        postgres.stop()
        try:
            for call in (copy(channel), copy(channel, cursor=text_at(1)), metadata(channel)):
                with pytest.raises(grpc.aio.AioRpcError) as away:
                    await call
                assert away.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "postgres" not in str(away.value.details()).replace("PostgreSQL", "")
        finally:
            postgres.start()
        assert (await copy(channel)).items


async def test_what_nobody_expected_is_an_internal_error_without_words(
    database: str, feed: Feed
) -> None:
    await feed.write()
    await feed.connection.execute("ALTER TABLE feed.item DROP COLUMN ordinal")
    async with serving(database) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await copy(channel)
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert not failed.value.details()
        await served.observed.sync(SyncOutcome.FAILED)


async def video(connection: asyncpg.Connection) -> UUID:
    series = await connection.fetchval(
        "INSERT INTO catalog.series (slug, title, owner_id) VALUES ('s', 'S', $1) RETURNING id",
        UUID(int=7),
    )
    episode: UUID = await connection.fetchval(
        "INSERT INTO catalog.episode (slug, series_id, title, synopsis, duration_seconds, tags,"
        " visibility, published_at, default_thumbnail_url)"
        " VALUES ('e', $1, 'E', 'About', 90, '{b,a}', 'UNLISTED', '2026-01-02T03:04:05Z', 'u:own')"
        " RETURNING id",
        series,
    )
    await connection.execute(
        "INSERT INTO catalog.media_asset (episode_id, default_thumbnail_url)"
        " VALUES ($1, 'u:asset')",
        episode,
    )
    return episode


async def metadata(
    channel: grpc.aio.Channel, video_id: str = str(UUID(int=1))
) -> pb.GetVideoMetadataResponse:
    method: grpc.aio.UnaryUnaryMultiCallable[
        pb.GetVideoMetadataRequest, pb.GetVideoMetadataResponse
    ] = channel.unary_unary(
        VIDEO_PATH,
        request_serializer=pb.GetVideoMetadataRequest.SerializeToString,
        response_deserializer=pb.GetVideoMetadataResponse.FromString,
    )
    return await method(pb.GetVideoMetadataRequest(video_id=video_id))


async def test_a_video_is_told_as_the_catalog_has_it(
    database: str, connection: asyncpg.Connection
) -> None:
    episode = await video(connection)
    async with serving(database) as served, foreign(served) as channel:
        found = await metadata(channel, str(episode).upper())
        assert found.published_at.ToJsonString() == "2026-01-02T03:04:05Z"
        found.ClearField("published_at")
        assert found == pb.GetVideoMetadataResponse(
            id=str(episode),
            title="E",
            description="About",
            duration_seconds=90,
            owner_id=str(UUID(int=7)),
            visibility="UNLISTED",
            tags=["b", "a"],
            thumbnails=[pb.Thumbnail(url="u:own"), pb.Thumbnail(url="u:asset")],
        )
        await connection.execute("UPDATE catalog.episode SET synopsis = NULL, published_at = NULL")
        assert not (await metadata(channel, str(episode))).HasField("published_at")
        reports = [one for one in served.observed.reports if isinstance(one, VideoRead)]
        assert [report.found for report in reports] == [True, True]


async def test_a_video_that_is_not_there_is_not_found(
    database: str, connection: asyncpg.Connection
) -> None:
    episode = await video(connection)
    await connection.execute("UPDATE catalog.episode SET deleted_at = now()")
    async with serving(database) as served, foreign(served) as channel:
        for video_id in (str(episode), str(uuid4())):
            with pytest.raises(grpc.aio.AioRpcError) as missing:
                await metadata(channel, video_id)
            assert missing.value.code() is grpc.StatusCode.NOT_FOUND
        for video_id in ("", "x", "1" * 500):
            with pytest.raises(grpc.aio.AioRpcError, match="video_id") as malformed:
                await metadata(channel, video_id)
            assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert VideoRead in map(type, served.observed.reports)


async def test_idle_streams_keep_nobody_waiting(
    database: str, feed: Feed, connection: asyncpg.Connection
) -> None:
    episode = await video(connection)
    await feed.write(episodes(20), size=10_000)
    async with serving(database) as served:
        idle = [Channel("127.0.0.1", served.port) for _ in range(2)]
        try:
            streams = []
            for number in range(200):
                stream = idle[number % 2].request(
                    SNAPSHOT_PATH,
                    Cardinality.UNARY_STREAM,
                    pb.CatalogSnapshotRequest,
                    pb.CatalogSnapshotChunk,
                )
                opened = await stream.__aenter__()
                await opened.send_request()
                streams.append(opened)
            async with foreign(served) as channel, asyncio.timeout(10):
                assert (await metadata(channel, str(episode))).title == "E"
                assert (await copy(channel)).items == feed.live
            for opened in streams:
                await opened.cancel()
        finally:
            for channel_of_many in idle:
                channel_of_many.close()
        served.assert_nothing_is_held()
