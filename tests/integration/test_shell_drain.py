"""How a server ends: what runs is finished or ended in order, and no client loses what was sent."""

import asyncio
import socket
import time
from typing import Any

import grpc
import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.events import ConnectionTerminated, TrailersReceived
from h2.settings import SettingCodes
from raw_client import RawClient
from shell import (
    ADMITTED,
    SNAPSHOT,
    TOKEN,
    VIDEO,
    PacedService,
    Shell,
    channel,
    shell,
    snapshot_of,
    video_of,
)
from structlog.testing import capture_logs

from content_proto.content_pb2 import (
    CatalogSnapshotChunk,
    CatalogSnapshotRequest,
    GetVideoMetadataRequest,
    GetVideoMetadataResponse,
)
from snapshot_server.serving.draining import drain

CHUNK = CatalogSnapshotChunk(position="x" * 200_000).SerializeToString()


async def drained(on: Shell, *, within_s: float = 5) -> list[Any]:
    """Drain; what was logged of it."""
    with capture_logs() as logged:
        await drain(
            on.server,
            on.service,
            on.calls,
            not_serving=lambda: on.status.set(False),
            within_s=within_s,
        )
    assert not on.server.connections
    return [line["event"] for line in logged]


async def test_with_nobody_there_it_ends_at_once() -> None:
    async with shell() as on:
        began = time.monotonic()
        assert await drained(on, within_s=60) == ["drain.started", "drain.ended"]
        assert time.monotonic() - began < 1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", on.port)


async def test_a_connection_that_is_held_open_does_not_hold_up_the_end() -> None:
    async with shell() as on, channel(on.port) as client:
        silent = socket.create_connection(("127.0.0.1", on.port))
        on.service.go.release()
        await video_of(client)(GetVideoMetadataRequest(), metadata=ADMITTED)
        began = time.monotonic()
        assert (await drained(on, within_s=60))[-1] == "drain.ended"
        # Two seconds for clients that do not close by themselves when they are asked to.
        assert time.monotonic() - began < 4
        silent.close()


async def test_a_single_call_that_is_under_way_is_answered() -> None:
    async with shell() as on, channel(on.port) as client:
        call = asyncio.create_task(video_of(client)(GetVideoMetadataRequest(), metadata=ADMITTED))
        await on.service.began.wait()
        ending = await begun(on)
        on.service.go.release()
        assert (await call).id == "v"
        assert (await ending)[-1] == "drain.ended"


async def begun(on: Shell) -> asyncio.Task[list[str]]:
    """A drain, from the moment on at which clients can know of it."""
    ending = asyncio.create_task(drained(on, within_s=15))
    while on.status.__status__():  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)
    return ending


async def test_a_stream_ends_at_a_chunk_with_a_status_and_loses_nothing_that_was_sent() -> None:
    async with shell(PacedService(CHUNK)) as on, channel(on.port) as client:
        received: list[CatalogSnapshotChunk] = []

        async def sync() -> None:
            async with snapshot_of(client).open(metadata=ADMITTED) as stream:
                await stream.send_message(CatalogSnapshotRequest(), end=True)
                async for chunk in stream:
                    received.append(chunk)  # noqa: PERF401

        call = asyncio.create_task(sync())
        for _ in range(20):
            on.service.go.release()
        await on.service.began.wait()
        ending = await begun(on)
        on.service.go.release()
        with pytest.raises(GRPCError) as ended:
            await call
        assert (ended.value.status, ended.value.message) == (Status.UNAVAILABLE, "drained")
        assert len(received) == on.service.sent
        assert (await ending)[-1] == "drain.ended"


async def test_another_kind_of_client_gets_every_chunk_and_the_status_too() -> None:
    async with (
        shell(PacedService(CHUNK)) as on,
        grpc.aio.insecure_channel(f"127.0.0.1:{on.port}") as client,
    ):
        call = client.unary_stream(
            SNAPSHOT,
            request_serializer=CatalogSnapshotRequest.SerializeToString,
            response_deserializer=CatalogSnapshotChunk.FromString,
        )(CatalogSnapshotRequest(), metadata=[("authorization", TOKEN)])
        for _ in range(20):
            on.service.go.release()
        assert await call.read()
        ending = await begun(on)
        on.service.go.release()
        received = 1
        try:
            while await call.read() is not grpc.aio.EOF:
                received += 1
                await asyncio.sleep(0.02)  # slower than the server
        except grpc.aio.AioRpcError as exc:
            assert (exc.code(), exc.details()) == (grpc.StatusCode.UNAVAILABLE, "drained")  # noqa: PT017
        else:
            pytest.fail("it ended well")
        assert received == on.service.sent
        assert (await ending)[-1] == "drain.ended"


async def test_a_client_that_is_told_to_go_elsewhere_does_so_by_itself() -> None:
    async with shell() as on, grpc.aio.insecure_channel(f"127.0.0.1:{on.port}") as client:
        video = client.unary_unary(
            VIDEO,
            request_serializer=GetVideoMetadataRequest.SerializeToString,
            response_deserializer=GetVideoMetadataResponse.FromString,
        )
        on.service.go.release()
        await video(GetVideoMetadataRequest(), metadata=[("authorization", TOKEN)])
        assert client.get_state() is grpc.ChannelConnectivity.READY
        await drained(on)
        await client.wait_for_state_change(grpc.ChannelConnectivity.READY)
        # It has not failed: it was sent away, and connects anew when it is used.
        assert client.get_state() is grpc.ChannelConnectivity.IDLE


async def test_a_slow_reader_gets_every_byte_that_was_sent_and_is_then_told_to_go() -> None:
    """Its windows are wide: all is sent at once, and waits in the buffers of both sides."""
    async with shell(PacedService(CHUNK)) as on:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        held.connect(("127.0.0.1", on.port))
        reader, writer = await asyncio.open_connection(sock=held, limit=65_536)
        client = RawClient(reader, writer)
        client.h2.initiate_connection()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 26})
        client.h2.increment_flow_control_window(1 << 26)
        stream = client.request(SNAPSHOT, [(b"authorization", TOKEN.encode())], b"")
        for _ in range(30):
            on.service.go.release()
        await on.service.began.wait()
        ending = await begun(on)
        on.service.go.release()
        events: list[Any] = []
        while data := await reader.read(65_536):
            events += client.h2.receive_data(data)
            if not any(isinstance(event, ConnectionTerminated) for event in events):
                # A socket that is closed over unread bytes takes back what was sent.
                client.h2.ping(b"still on")
                client.flush()
            await asyncio.sleep(0.02)
        [trailers] = [event for event in events if isinstance(event, TrailersReceived)]
        said: dict[Any, Any] = dict(trailers.headers)
        assert said["grpc-message"] == "drained"
        [told] = [event for event in events if isinstance(event, ConnectionTerminated)]
        assert (told.error_code, told.last_stream_id) == (0, stream)
        assert events[-1] is told
        assert (await ending)[-1] == "drain.ended"
        writer.close()
        await writer.wait_closed()


async def test_what_does_not_end_in_time_is_broken_off() -> None:
    async with shell() as on, channel(on.port) as client:

        async def sync() -> None:
            async with snapshot_of(client).open(metadata=ADMITTED) as stream:
                await stream.send_message(CatalogSnapshotRequest(), end=True)
                await stream.recv_message()

        call = asyncio.create_task(sync())
        await on.service.began.wait()
        began = time.monotonic()
        assert (await drained(on, within_s=0.3))[-1] == "drain.cut_short"
        assert 0.3 <= time.monotonic() - began < 5
        with pytest.raises((GRPCError, StreamTerminatedError, ConnectionError)):
            await call


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end_for_ever() -> None:
    async with shell(PacedService(CHUNK)) as on:
        blocked = socket.socket()
        blocked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        blocked.connect(("127.0.0.1", on.port))
        blocked.setblocking(False)  # noqa: FBT003
        client = Channel("127.0.0.1", on.port)
        call = asyncio.create_task(read_one(client))
        for _ in range(1000):
            on.service.go.release()
        await call
        began = time.monotonic()
        await drained(on, within_s=0.5)
        assert time.monotonic() - began < 8
        client.close()
        blocked.close()


async def read_one(client: Channel) -> None:
    """Read one chunk, and nothing more; the connection stays."""
    stream = await snapshot_of(client).open(metadata=ADMITTED).__aenter__()
    await stream.send_message(CatalogSnapshotRequest(), end=True)
    await stream.recv_message()
    client_protocol: Any = stream._stream.connection._transport  # noqa: SLF001
    client_protocol.pause_reading()


async def test_clients_that_never_stop_calling_are_refused_in_the_end() -> None:
    async with shell() as on, channel(on.port) as client:
        stop = asyncio.Event()
        refusals: list[Status] = []

        async def keep_calling() -> None:
            while not stop.is_set():
                on.service.go.release()
                try:
                    await video_of(client)(GetVideoMetadataRequest(), metadata=ADMITTED)
                except GRPCError as exc:
                    refusals.append(exc.status)
                except (StreamTerminatedError, OSError):
                    return

        class Busy:
            """Always has a call under way, as far as it says."""

            def drain(self) -> None:
                on.service.drain()

            async def drained(self) -> None:
                while on.calls.under_way or not refusals:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

        calling = [asyncio.create_task(keep_calling()) for _ in range(3)]
        await on.service.began.wait()
        with capture_logs() as logged:
            await drain(on.server, Busy(), on.calls, not_serving=lambda: None, within_s=1)
        stop.set()
        await asyncio.gather(*calling)
        assert logged[-1]["event"] == "drain.ended"
        assert set(refusals) == {Status.UNAVAILABLE}
