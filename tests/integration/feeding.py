"""A feed that a test writes by hand, and the content service over it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from content_proto import content_pb2 as pb
from outbox.position import Position
from snapshot_server.connections import bulk_pool, unary_pool
from snapshot_server.content.codec import ContentCodec
from snapshot_server.content.limits import Limits
from snapshot_server.content.reports import Report, SyncEnded, SyncOutcome
from snapshot_server.content.service import ContentService
from snapshot_server.digest import item_digest

SERIES, EPISODE = 1, 2
BEGAN_MS = 1_795_347_471_648
SNAPSHOT_PATH = "/content.v1.ContentService/CatalogSnapshot"
VIDEO_PATH = "/content.v1.ContentService/GetVideoMetadata"

Key = tuple[int, UUID]
Snapshot = grpc.aio.UnaryStreamMultiCallable[bytes, pb.CatalogSnapshotChunk]


def version_at(tick: int, seq: int = 0) -> int:
    return Position(BEGAN_MS + tick, seq).version


def text_at(tick: int, seq: int = 0) -> str:
    return str(Position(BEGAN_MS + tick, seq))


class Feed:
    """Moves forward a tick with each write, as the projector's does."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.tick = 0
        self.live: dict[Key, int] = {}

    async def write(
        self, put: Sequence[Key] = (), *, remove: Sequence[Key] = (), size: int = 100
    ) -> None:
        """Touch *put*, remove the others, all of them with the next event."""
        self.tick += 1
        version = version_at(self.tick)
        rows = []
        for ordinal, key in enumerate([*put, *remove]):
            body = None if key in remove else body_of(key, version, size)
            rows.append((*key, version, ordinal, body))
            self.live.pop(key, None)
            if body is not None:
                self.live[key] = version
        async with self.connection.transaction():
            await self.connection.executemany(
                "INSERT INTO feed.item VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT (kind, id) DO"
                " UPDATE SET version = $3, ordinal = $4, body = $5",
                rows,
            )
            await self.state(version)

    async def state(self, version: int, *, purged: int | None = None, epoch: int = 0) -> None:
        digest = sum(item_digest(*key, version) for key, version in self.live.items()) % 2**64
        await self.connection.execute(
            "INSERT INTO feed.state AS s"
            " VALUES (true, $1, $2, coalesce($3::bigint, 0), $4, $5, $6, 1)"
            " ON CONFLICT (single) DO UPDATE SET epoch = $1, version = $2,"
            " purged = coalesce($3, s.purged), series = $4, episodes = $5, digest = $6",
            epoch,
            version,
            purged,
            sum(kind == SERIES for kind, _ in self.live),
            sum(kind == EPISODE for kind, _ in self.live),
            digest - 2**64 if digest >= 2**63 else digest,
        )

    async def purge(self, tick: int) -> None:
        """Forget the removals up to *tick*."""
        version = version_at(tick)
        await self.connection.execute(
            "DELETE FROM feed.item WHERE body IS NULL AND version <= $1", version
        )
        await self.state(version_at(self.tick), purged=version)

    async def announce(self, tick: int) -> None:
        """Make a tick of one event that the feed has not reached."""
        ms = BEGAN_MS + tick
        await self.connection.execute("SELECT outbox.ensure_tick_partition($1)", ms)
        await self.connection.execute(
            "INSERT INTO outbox.tick (ms, since, since_floor, late, snapshot, next_xid, id_floor,"
            " id_top, events, total_before) VALUES ($1, '1:1:', 0, '{}', '1:1:', '1', 0, 0, 1, 0)",
            ms,
        )

    async def abandon(self, number: int, after: int, until: int) -> None:
        """Open an epoch: what lies behind tick *after*, up to *until*, is not ours."""
        await self.connection.execute(
            "INSERT INTO outbox.epoch VALUES ($1, 1, 1, now(), 'test', $2, 0, $3, 0, 0)",
            number,
            BEGAN_MS + after,
            BEGAN_MS + until,
        )


def body_of(key: Key, version: int, size: int) -> bytes:
    """As the projector stores it, of *size* bytes or a few more."""
    item = pb.CatalogFeedItem(
        kind=pb.ItemKind.Name(key[0]),
        id=str(key[1]),
        version=version,
        title="t" * max(0, size - 60),
    )
    return pb.CatalogSnapshotChunk(items=[item]).SerializeToString()


def episodes(count: int) -> list[Key]:
    return [(EPISODE, uuid4()) for _ in range(count)]


class Observed:
    """What a service reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._reported = asyncio.Event()

    def __call__(self, report: Report) -> None:
        self.reports.append(report)
        self._reported.set()

    async def sync(self, outcome: SyncOutcome) -> SyncEnded:
        """The newest that ended so, as soon as there is one."""
        async with asyncio.timeout(30):
            while True:
                self._reported.clear()
                for report in reversed(self.reports):
                    if isinstance(report, SyncEnded) and report.outcome is outcome:
                        return report
                await self._reported.wait()


@dataclass
class Served:
    """The service, where it listens, and what it has reported."""

    service: ContentService
    port: int
    bulk: asyncpg.Pool
    unary: asyncpg.Pool
    observed: Observed

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def assert_nothing_is_held(self) -> None:
        for pool in (self.bulk, self.unary):
            assert pool.get_idle_size() == pool.get_size()


class _Server(Server):
    """Leaves no connection open, which grpclib's own does."""

    def __init__(self, service: ContentService) -> None:
        super().__init__(
            [service], codec=ContentCodec(), status_details_codec=ProtoStatusDetailsCodec()
        )
        self._made: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        self._made.append(super()._protocol_factory())
        return self._made[-1]

    async def listen(self) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        await self.start(sock=listener)
        port: int = listener.getsockname()[1]
        return port

    async def end(self) -> None:
        self.close()
        for protocol in self._made:
            protocol.connection.close()
        await self.wait_closed()
        # The loop closes a transport's socket one round after the transport.
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(database: str, limits: Limits | None = None) -> AsyncIterator[Served]:
    async with bulk_pool(database) as bulk, unary_pool(database) as unary:
        observed = Observed()
        service = ContentService(bulk, unary, limits or Limits(), observed)
        server = _Server(service)
        try:
            yield Served(service, await server.listen(), bulk, unary, observed)
        finally:
            await server.end()


@dataclass
class Copy:
    """What a client holds."""

    items: dict[Key, int] = field(default_factory=dict)
    chunks: list[pb.CatalogSnapshotChunk] = field(default_factory=list)
    cursor: str | None = None
    position: str | None = None

    def take(self, chunk: pb.CatalogSnapshotChunk) -> None:
        self.chunks.append(chunk)
        for item in chunk.items:
            self.items[item.kind, UUID(item.id)] = item.version
        for gone in chunk.removed:
            self.items.pop((gone.kind, UUID(gone.id)), None)
        assert chunk.HasField("next_cursor") != chunk.HasField("position")
        assert chunk.HasField("summary") == chunk.HasField("position")
        if chunk.HasField("next_cursor"):
            self.cursor = chunk.next_cursor
        else:
            self.position = chunk.position
            assert chunk.summary.digest == self.digest
            assert chunk.summary.series + chunk.summary.episodes == len(self.items)

    @property
    def digest(self) -> int:
        return sum(item_digest(*key, version) for key, version in self.items.items()) % 2**64


def request(**fields: Any) -> bytes:  # noqa: ANN401
    return pb.CatalogSnapshotRequest(**fields).SerializeToString()


@asynccontextmanager
async def foreign(served: Served, *options: tuple[str, Any]) -> AsyncIterator[grpc.aio.Channel]:
    """grpcio, which shares no code with the server."""
    async with grpc.aio.insecure_channel(served.address, options=options) as channel:
        yield channel


def snapshot(
    channel: grpc.aio.Channel,
    sent: bytes = b"",
    **how: Any,  # noqa: ANN401
) -> grpc.aio.UnaryStreamCall[bytes, pb.CatalogSnapshotChunk]:
    method: grpc.aio.UnaryStreamMultiCallable[bytes, pb.CatalogSnapshotChunk] = (
        channel.unary_stream(
            SNAPSHOT_PATH, response_deserializer=pb.CatalogSnapshotChunk.FromString
        )
    )
    return method(sent, **how)


async def copy(channel: grpc.aio.Channel, into: Copy | None = None, **fields: Any) -> Copy:  # noqa: ANN401
    copied = into or Copy()
    async for chunk in snapshot(channel, request(**fields)):
        copied.take(chunk)
    return copied


async def level_at(channel: grpc.aio.Channel, **fields: Any) -> str:  # noqa: ANN401
    """The position that an answer ends with."""
    chunk = pb.CatalogSnapshotChunk()
    async for chunk in snapshot(channel, request(**fields)):
        assert chunk.items or chunk.removed or chunk.position
    return chunk.position


async def first_of(
    call: grpc.aio.UnaryStreamCall[bytes, pb.CatalogSnapshotChunk],
) -> pb.CatalogSnapshotChunk:
    """Of its chunks the first, or the next one."""
    chunk = await call.read()
    assert isinstance(chunk, pb.CatalogSnapshotChunk)
    return chunk


async def ended(call: grpc.aio.UnaryStreamCall[bytes, Any]) -> grpc.StatusCode:
    """How *call* ends, after whatever comes."""
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code()


def error_info(failed: grpc.aio.AioRpcError) -> ErrorInfo:
    """What a program is told. Nothing came before it: the answer is its trailers alone."""
    assert not list(failed.initial_metadata() or ())
    details = dict(failed.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    [detail] = Status.FromString(details).details
    info = ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "content.v1"
    return info
