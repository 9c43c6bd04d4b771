"""Clients that share no code with ours get the same catalog, and the same errors."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncpg
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpclib.client import Channel
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from raw_http2 import Answer, call, framed
from whole_server import TOKEN, Whole, whole

from content_proto import content_pb2 as pb
from content_proto.content import v1
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.tally import Mirror

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = "/content.v1.ContentService/CatalogSnapshot"
VIDEO = "/content.v1.ContentService/GetVideoMetadata"
ADMITTED = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def server(database: str, connection: asyncpg.Connection) -> AsyncIterator[Whole]:
    async with whole(database, connection) as server:
        yield server


async def mirrored(server: Whole) -> Mirror:
    mirror = Mirror()
    async with SnapshotClient(server.address, TOKEN) as client:
        async for chunk in client.sync(limit=3):
            mirror.apply(chunk)
    return mirror


async def test_our_client_holds_what_the_summary_says_and_every_field(server: Whole) -> None:
    mirror = await mirrored(server)
    assert mirror.totals[:2] == (1, 9)
    [episode] = [item for item in mirror.items.values() if item.slug == "e7"]
    assert episode.series.category.name == "Dráma"
    assert episode.series.HasField("synopsis")
    assert episode.published_at.nanos == 678_901_000
    assert (episode.availability.start.seconds, episode.availability.start.nanos) == (
        -1,
        500_000_000,
    )
    assert episode.playback.variants[0].frame_rate == 23.976
    assert episode.localization.available_languages == ["en"]


async def test_our_client_tails_with_at_least_and_sees_what_the_event_touched(
    server: Whole,
) -> None:
    mirror = await mirrored(server)
    await server.connection.execute("UPDATE catalog.episode SET title = 'new' WHERE slug = 'e1'")
    await server.connection.execute("DELETE FROM catalog.episode WHERE slug = 'e2'")
    made = await server.connection.fetchrow("SELECT * FROM outbox.make_tick()")
    assert made
    event = f"{made['ms']}-{made['events'] - 1}"
    async with SnapshotClient(server.address, TOKEN) as client:
        syncing = client.sync(mirror.position, at_least=event)
        first = asyncio.create_task(anext(syncing))
        await server.follow()
        mirror.apply(await first)
        async for chunk in syncing:
            mirror.apply(chunk)
    assert mirror.position == event
    titles = {item.slug: item.title for item in mirror.items.values()}
    assert titles["e1"] == "new"
    assert "e2" not in titles


# ---- grpcio, with code generated from proto/content.proto alone, in a process of its own


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    out = (f"--python_out={folder}", f"--grpc_python_out={folder}")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", *out, "content.proto"],
        cwd=ROOT,
        check=True,
    )
    return folder


_IMPORTS = """
import json, random, sys, time
import grpc
from google.protobuf.json_format import MessageToDict
from content_pb2 import CatalogSnapshotRequest, GetVideoMetadataRequest
from content_pb2_grpc import ContentServiceStub

NEVER_AGAIN = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE,
               grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAUTHENTICATED}
address, token, *arguments = sys.argv[1:]
stub = ContentServiceStub(grpc.insecure_channel(address))
metadata = [("authorization", f"Bearer {token}")]
"""
_SAMPLE = """
try:
    for chunk in sync(stub, *arguments, token=token):
        print(json.dumps(MessageToDict(chunk, preserving_proto_field_name=True)))
except grpc.RpcError as error:
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    print(json.dumps({"code": error.code().name, "details": details.hex()}))
"""
_VIDEO = """
request = GetVideoMetadataRequest(video_id=arguments[0])
answer = stub.GetVideoMetadata(request, metadata=metadata, timeout=10)
print(json.dumps(MessageToDict(answer, preserving_proto_field_name=True)))
"""


def documented_sample() -> str:
    """The code that docs/snapshot.md gives to users of grpcio."""
    text = (ROOT / "docs/snapshot.md").read_text("utf-8")
    [sample] = re.findall(r"```python\n(def sync\(stub.*?)```", text, re.DOTALL)
    return str(sample)


async def grpcio(generated: Path, code: str, *arguments: str) -> list[dict[str, Any]]:
    """What the foreign program printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _IMPORTS + code, *arguments),
        cwd=generated,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


async def test_grpcio_with_the_code_of_our_documentation_gets_the_same_items(
    server: Whole, generated: Path
) -> None:
    mirror = await mirrored(server)
    chunks = await grpcio(generated, documented_sample() + _SAMPLE, server.address, TOKEN)
    assert chunks[-1]["position"] == mirror.position
    items = {item["id"]: item for chunk in chunks for item in chunk.get("items", ())}
    assert items == {
        item.id: MessageToDict(item, preserving_proto_field_name=True)
        for item in mirror.items.values()
    }


async def test_grpcio_is_told_why_a_cursor_is_refused(server: Whole, generated: Path) -> None:
    arguments = (server.address, TOKEN, "not a cursor")
    [told] = await grpcio(generated, documented_sample() + _SAMPLE, *arguments)
    assert told["code"] == "INVALID_ARGUMENT"
    assert info_in(bytes.fromhex(told["details"])).reason == "CURSOR_MALFORMED"


async def test_grpcio_without_a_token_is_unauthenticated(server: Whole, generated: Path) -> None:
    [told] = await grpcio(generated, documented_sample() + _SAMPLE, server.address, "wrong")
    assert told["code"] == "UNAUTHENTICATED"


async def test_grpcio_gets_the_metadata_of_a_video(server: Whole, generated: Path) -> None:
    [id_] = [item.id for item in (await mirrored(server)).items.values() if item.slug == "e7"]
    [video] = await grpcio(generated, _VIDEO, server.address, TOKEN, id_)
    assert (video["id"], video["title"], video["visibility"]) == (id_, "Episode 7", "PUBLIC")


# ---- the stub that betterproto2 generated, for other services in Python


async def test_betterproto2_reads_every_field_as_google_does(server: Whole) -> None:
    mirror = await mirrored(server)
    items: dict[tuple[int, str], pb.CatalogFeedItem] = {}
    channel = Channel("127.0.0.1", server.port)
    try:
        stub = v1.ContentServiceStub(channel, metadata=ADMITTED)
        request = v1.CatalogSnapshotRequest(limit=3)
        async for chunk in stub.catalog_snapshot(request):
            for item in chunk.items:
                items[int(item.kind), item.id] = pb.CatalogFeedItem.FromString(bytes(item))
            position = chunk.position
    finally:
        channel.close()
    assert position == mirror.position
    assert items == mirror.items


async def test_betterproto2_gets_errors_and_metadata(server: Whole) -> None:
    [id_] = [item.id for item in (await mirrored(server)).items.values() if item.slug == "e7"]
    channel = Channel("127.0.0.1", server.port)
    try:
        stub = v1.ContentServiceStub(channel, metadata=ADMITTED)
        video = await stub.get_video_metadata(v1.GetVideoMetadataRequest(video_id=id_))
        assert (video.title, video.duration_seconds) == ("Episode 7", 7)
        with pytest.raises(GRPCError) as refused:
            await anext(stub.catalog_snapshot(v1.CatalogSnapshotRequest(cursor="")))
    finally:
        channel.close()
    assert refused.value.status is Code.INVALID_ARGUMENT
    assert refused.value.details[0].reason == "CURSOR_MALFORMED"


# ---- HTTP/2, frame by frame


def info_in(details: bytes) -> ErrorInfo:
    status = Status.FromString(details)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "content.v1"
    return info


def decoded(value: str) -> bytes:
    """A ``-bin`` header: base64, with or without padding."""
    return base64.b64decode(value + "=" * (-len(value) % 4))


def assert_trailers_alone(answer: Answer, code: Code) -> None:
    assert answer.headers[":status"] == "200"
    assert answer.headers["content-type"].startswith("application/grpc")
    assert answer.headers["grpc-status"] == str(code.value)
    assert (answer.data, answer.trailers, answer.reset) == (b"", None, None)


def snapshot_request(**fields: Any) -> bytes:  # noqa: ANN401
    return pb.CatalogSnapshotRequest(**fields).SerializeToString()


async def test_a_sync_is_headers_messages_and_trailers(server: Whole) -> None:
    request = framed(snapshot_request(limit=3))
    answer = await call(server.port, SNAPSHOT, request, **ADMITTED)
    assert answer.headers[":status"] == "200"
    assert answer.headers["content-type"] in {"application/grpc", "application/grpc+proto"}
    assert "grpc-status" not in answer.headers
    chunks = [pb.CatalogSnapshotChunk.FromString(message) for message in answer.messages]
    assert [len(chunk.items) for chunk in chunks] == [3, 3, 3, 1]
    assert [chunk.HasField("position") for chunk in chunks] == [False, False, False, True]
    assert answer.trailers
    assert answer.trailers["grpc-status"] == "0"
    assert answer.reset is None


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"cursor": "nonsense"}, Code.INVALID_ARGUMENT, "CURSOR_MALFORMED"),
        ({"cursor": ""}, Code.INVALID_ARGUMENT, "CURSOR_MALFORMED"),
        ({"cursor": "2999999999999-0"}, Code.FAILED_PRECONDITION, "CURSOR_FUTURE"),
        ({"at_least": "2999999999999-0"}, Code.FAILED_PRECONDITION, "AT_LEAST_FUTURE"),
    ],
    ids=["nonsense", "empty", "future", "at-least"],
)
async def test_a_refused_cursor_is_trailers_alone_with_details_in_base64(
    server: Whole, fields: dict[str, str], code: Code, reason: str
) -> None:
    request = framed(snapshot_request(**fields))
    answer = await call(server.port, SNAPSHOT, request, **ADMITTED)
    assert_trailers_alone(answer, code)
    details = decoded(answer.headers["grpc-status-details-bin"])
    status, info = Status.FromString(details), info_in(details)
    assert (status.code, status.message) == (code.value, unquote(answer.headers["grpc-message"]))
    assert info.reason == reason
    newest = (await mirrored(server)).position
    assert info.metadata["newest"] == newest


async def test_an_expired_cursor_is_out_of_range(server: Whole) -> None:
    await server.connection.execute("UPDATE feed.state SET purged = version - 1")
    request = framed(snapshot_request(cursor="1-0"))
    answer = await call(server.port, SNAPSHOT, request, **ADMITTED)
    assert_trailers_alone(answer, Code.OUT_OF_RANGE)
    assert info_in(decoded(answer.headers["grpc-status-details-bin"])).reason == "CURSOR_EXPIRED"


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic swordfish", ""])
@pytest.mark.parametrize("path", [SNAPSHOT, VIDEO])
async def test_without_a_token_of_ours_it_is_unauthenticated_whatever_was_asked(
    server: Whole, path: str, authorization: str | None
) -> None:
    answer = await call(server.port, path, framed(b"\xff\xff\xff\xff"), authorization=authorization)
    assert_trailers_alone(answer, Code.UNAUTHENTICATED)


@pytest.mark.parametrize("body", [framed(b"\xff\xff\xff\xff"), framed(b"\x0a\x05abc")])
async def test_a_request_that_does_not_parse_is_an_invalid_argument(
    server: Whole, body: bytes
) -> None:
    answer = await call(server.port, SNAPSHOT, body, **ADMITTED)
    assert_trailers_alone(answer, Code.INVALID_ARGUMENT)


async def test_a_deadline_that_passes_while_it_waits_is_said_in_the_trailers(
    server: Whole,
) -> None:
    await server.connection.execute("UPDATE catalog.episode SET title = 'new' WHERE slug = 'e1'")
    made = await server.connection.fetchrow("SELECT * FROM outbox.make_tick()")
    assert made
    request = framed(snapshot_request(at_least=f"{made['ms']}-0"))
    answer = await call(server.port, SNAPSHOT, request, grpc_timeout="100m", **ADMITTED)
    assert_trailers_alone(answer, Code.DEADLINE_EXCEEDED)


async def test_a_method_that_is_not_there_is_unimplemented(server: Whole) -> None:
    answer = await call(server.port, "/content.v1.ContentService/Nothing", framed(b""), **ADMITTED)
    # Without a content-type: grpclib answers before it looks at anything else.
    assert (answer.headers[":status"], answer.headers["grpc-status"]) == ("200", "12")


async def test_what_is_no_grpc_has_the_status_of_http(server: Whole) -> None:
    request = framed(b"")
    other_type = await call(server.port, SNAPSHOT, request, content_type="text/html", **ADMITTED)
    other_method = await call(server.port, SNAPSHOT, request, method="PUT", **ADMITTED)
    assert other_type.headers[":status"] == "415"
    assert other_method.headers[":status"] == "405"


async def test_a_video_is_one_message_and_an_unknown_one_is_not_found(server: Whole) -> None:
    [id_] = [item.id for item in (await mirrored(server)).items.values() if item.slug == "e7"]
    request = framed(pb.GetVideoMetadataRequest(video_id=id_).SerializeToString())
    answer = await call(server.port, VIDEO, request, **ADMITTED)
    [message] = answer.messages
    assert pb.GetVideoMetadataResponse.FromString(message).title == "Episode 7"
    assert answer.trailers
    assert answer.trailers["grpc-status"] == "0"
    nobody = pb.GetVideoMetadataRequest(video_id="00000000-0000-0000-0000-000000000000")
    missing = await call(server.port, VIDEO, framed(nobody.SerializeToString()), **ADMITTED)
    assert_trailers_alone(missing, Code.NOT_FOUND)
