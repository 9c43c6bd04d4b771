"""Who may call, what is counted of it, and what a client can do to the others."""

import asyncio
import gc
import socket
from collections.abc import Iterable

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from raw_client import RawClient
from shell import ADMITTED, SNAPSHOT, TOKEN, VIDEO, Shell, channel, shell, video_of
from structlog.testing import capture_logs

from content_proto.content_pb2 import GetVideoMetadataRequest

HELLO = GetVideoMetadataRequest(video_id="v")


def sample(metrics_of: Shell, name: str, **labels: str) -> float | None:
    return metrics_of.metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [b"Bearer wrong"],
        [b"Bearer swordfish", b"Bearer swordfish"],
        [b"Bearer \xff\xfe"],
        ["Bearer s\u00f6rdfisch".encode()],
        [b"\x80"],
    ],
)
async def test_without_one_token_of_ours_a_request_is_not_even_read(tokens: list[bytes]) -> None:
    async with shell() as on:
        client = await RawClient.connected(on.port)
        headers = [(b"authorization", token) for token in tokens]
        # Garbage that would be an error of its own if anybody looked at it.
        refused = await client.answer(client.request(SNAPSHOT, headers, b"\xff\xff\xff\xff"))
        assert (refused["grpc-status"], refused["content-type"]) == ("16", "application/grpc+proto")
        # The connection is as good as before: a proxy shares it among many.
        on.service.go.release()
        fine = client.request(VIDEO, [(b"authorization", b"bearer " + TOKEN.encode())], b"")
        assert (await client.answer(fine))["grpc-status"] == "0"
        assert on.service.read == 1
        refusals = sample(
            on, "snapshot_calls_total", method="CatalogSnapshot", code="UNAUTHENTICATED"
        )
        assert refusals == 1
        client.writer.close()


async def test_a_token_is_seen_by_no_handler_and_in_no_log() -> None:
    with capture_logs() as logged:
        async with shell() as on, channel(on.port) as client:
            with pytest.raises(GRPCError) as failed:
                await video_of(client)(
                    GetVideoMetadataRequest(video_id="broken"), metadata=ADMITTED
                )
            assert failed.value.status is Status.UNKNOWN
            for header in (f"Bearer {TOKEN}x", TOKEN * 2):
                with pytest.raises(GRPCError) as refused:
                    await video_of(client)(HELLO, metadata={"authorization": header})
                assert TOKEN not in str(refused.value)
    assert TOKEN not in str(logged)


async def test_health_needs_no_token_and_follows_what_the_server_is_told() -> None:
    async with shell() as on, channel(on.port) as client:
        for service in ("", "content.v1.ContentService"):
            answer = await HealthStub(client).Check(HealthCheckRequest(service=service))
            assert answer.status == HealthCheckResponse.SERVING
        async with HealthStub(client).Watch.open() as watch:
            await watch.send_message(HealthCheckRequest(), end=True)
            first = await watch.recv_message()
            on.status.set(False)
            second = await watch.recv_message()
            await watch.cancel()
            assert first
            assert second
            assert [first.status, second.status] == [
                HealthCheckResponse.SERVING,
                HealthCheckResponse.NOT_SERVING,
            ]
        with pytest.raises(GRPCError) as unknown:
            await HealthStub(client).Check(HealthCheckRequest(service="content.v2.ContentService"))
        assert unknown.value.status is Status.NOT_FOUND


async def test_each_call_is_counted_by_its_method_and_its_code() -> None:
    async with shell() as on, channel(on.port) as client:
        on.service.go.release()
        await video_of(client)(HELLO, metadata=ADMITTED)
        with pytest.raises(GRPCError):
            await video_of(client)(GetVideoMetadataRequest(video_id="broken"), metadata=ADMITTED)
        with pytest.raises((GRPCError, TimeoutError)):
            await video_of(client)(HELLO, metadata=ADMITTED, timeout=0.05)
        await none_under_way(on)
        counted = {
            code: sample(on, "snapshot_calls_total", method="GetVideoMetadata", code=code)
            for code in ("OK", "UNKNOWN", "DEADLINE_EXCEEDED", "CANCELLED")
        }
        assert counted["OK"] == 1
        assert counted["UNKNOWN"] == 1
        assert (counted["DEADLINE_EXCEEDED"] or 0) + (counted["CANCELLED"] or 0) == 1
        assert sample(on, "snapshot_calls_under_way", method="GetVideoMetadata") == 0
        seconds = sample(on, "snapshot_call_duration_seconds_count", method="GetVideoMetadata")
        assert seconds == 3


@pytest.mark.parametrize(
    "more",
    [
        [(b"authorization", b"swordfish"), (b"odd-bin", b"not base64!")],
        [(b"authorization", b"swordfish"), (b"grpc-timeout", b"soon")],
    ],
)
async def test_headers_that_cannot_be_read_end_their_stream_and_no_other(
    more: list[tuple[bytes, bytes]],
) -> None:
    async with shell() as on:
        client = await RawClient.connected(on.port)
        with capture_logs():
            said = await client.answer(client.request(VIDEO, more, b""))
        assert said.get("reset") or said["grpc-status"] != "0"
        on.service.go.release()
        fine = client.request(VIDEO, [(b"authorization", b"swordfish")], b"")
        assert (await client.answer(fine))["grpc-status"] == "0"
        client.writer.close()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 40,
    b"\x00" * 5000,
    bytes(range(256)) * 64,
    # HEADERS that HPACK cannot read.
    PREFACE + b"\0\0\x04\x01\x05\0\0\0\x01\xff\xff\xff\xff",
    # A frame that would be of 16 MiB.
    PREFACE + b"\xff" * 20_000,
]


async def none_under_way(on: Shell) -> None:
    async with asyncio.timeout(10):
        while on.calls.under_way:  # noqa: ASYNC110 - clients break them off
            await asyncio.sleep(0.01)


async def eventually_none(things: Iterable[object]) -> None:
    async with asyncio.timeout(10):
        while list(things):  # noqa: ASYNC110 - connections end by themselves
            await asyncio.sleep(0.01)


async def test_garbage_ends_its_own_connection_and_leaves_nothing_behind(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with shell() as on, channel(on.port) as client:
        with capture_logs() as logged:
            for garbage in GARBAGE:
                reader, writer = await asyncio.open_connection("127.0.0.1", on.port)
                writer.write(garbage)
                try:
                    async with asyncio.timeout(5):
                        while await reader.read(65_536):
                            pass
                except ConnectionError:
                    pass
                writer.close()
            await eventually_none(on.server.connections)
            on.service.go.release()
            await video_of(client)(HELLO, metadata=ADMITTED)
    assert [line for line in logged if line["log_level"] != "debug"] == []
    assert capfd.readouterr() == ("", "")


async def test_a_frame_of_a_kind_that_nobody_knows_is_ignored() -> None:
    async with shell() as on:
        client = await RawClient.connected(on.port)
        client.writer.write(b"\0\0\x04\xee\0\0\0\0\0" + b"huh?")
        on.service.go.release()
        fine = client.request(VIDEO, [(b"authorization", b"swordfish")], b"")
        assert (await client.answer(fine))["grpc-status"] == "0"
        client.writer.close()


async def test_silent_clients_and_idle_streams_keep_nobody_waiting_and_leave_nothing() -> None:
    async with shell() as on, channel(on.port) as client:
        silent = [socket.create_connection(("127.0.0.1", on.port)) for _ in range(50)]
        idle = [await RawClient.connected(on.port) for _ in range(2)]
        for number in range(200):
            idle[number % 2].request(SNAPSHOT, [(b"authorization", b"swordfish")])
        async with asyncio.timeout(10):
            while on.calls.under_way < 200:  # noqa: ASYNC110 - they come over sockets
                await asyncio.sleep(0.01)
        on.service.go.release()
        async with asyncio.timeout(2):
            await video_of(client)(HELLO, metadata=ADMITTED)
        for raw in idle:
            raw.writer.close()
            await raw.writer.wait_closed()
        for held in silent:
            held.close()
        await none_under_way(on)
        client.close()
        await eventually_none(on.server.connections)
        gc.collect()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_one_stream_too_many_costs_its_own_connection_alone() -> None:
    async with shell() as on, channel(on.port) as client:
        greedy = await RawClient.connected(on.port)
        greedy.h2.remote_settings.max_concurrent_streams = 1000
        with pytest.raises(Exception, match=r"."):  # noqa: PT012 - ours or theirs is first
            for _ in range(101):
                greedy.request(SNAPSHOT, [(b"authorization", b"swordfish")])
            await greedy.closed()
            raise ConnectionError("closed")
        greedy.writer.close()
        on.service.go.release()
        await video_of(client)(HELLO, metadata=ADMITTED)
