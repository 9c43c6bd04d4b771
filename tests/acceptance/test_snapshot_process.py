"""The snapshot server as it is operated: started, asked to end, killed, and behind TLS."""

import asyncio
import json
import os
import signal
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
import trustme
from grpclib.client import Channel, UnaryStreamMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest
from processes import eventually
from snapshot_processes import TOKEN, StartServer, snapshot_servers

from content_proto.content_pb2 import CatalogSnapshotChunk, CatalogSnapshotRequest
from embedded.postgres import Postgres

SNAPSHOT = "/content.v1.ContentService/CatalogSnapshot"
ADMITTED = {"authorization": f"Bearer {TOKEN}"}
SERIES = (
    "INSERT INTO catalog.series (slug, title, synopsis, status, visibility)"
    " SELECT $1 || n, 'Title', repeat('x', 2000), 'PUBLISHED', 'PUBLIC'"
    " FROM generate_series(1, $2::int) AS n"
)
SERVING = HealthCheckResponse.SERVING


@pytest.fixture
def dsn(own_database: str) -> str:
    return own_database


@pytest.fixture
def start(dsn: str, tmp_path: Path) -> Iterator[StartServer]:
    with snapshot_servers(dsn, tmp_path) as start:
        yield start


async def write(dsn: str, name: str, count: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SERIES, name, count)
    finally:
        await connection.close()


@asynccontextmanager
async def channel(
    port: int, tls: ssl.SSLContext | None = None, name: str = "localhost"
) -> AsyncIterator[Channel]:
    config = Configuration(ssl_target_name_override=name) if tls else None
    client = Channel("127.0.0.1", port, ssl=tls, config=config)
    try:
        yield client
    finally:
        client.close()


async def snapshot(client: Channel, metadata: dict[str, str] | None = None) -> list[Any]:
    """The chunks of a whole sync."""
    method: UnaryStreamMethod[Any, Any] = UnaryStreamMethod(
        client, SNAPSHOT, CatalogSnapshotRequest, CatalogSnapshotChunk
    )
    return await method(CatalogSnapshotRequest(limit=100), metadata=metadata or ADMITTED)


async def health(port: int, tls: ssl.SSLContext | None = None) -> int:
    async with channel(port, tls) as client:
        answer = await HealthStub(client).Check(HealthCheckRequest())
        return int(answer.status)


async def serving(port: int, tls: ssl.SSLContext | None = None) -> None:
    async def serves() -> bool:
        return await health(port, tls) == SERVING

    await eventually(serves)


async def asked(port: int, path: str) -> tuple[int, bytes]:
    """What HTTP says."""

    def ask() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    return await asyncio.to_thread(ask)


async def test_it_builds_the_feed_serves_it_and_says_so(start: StartServer, dsn: str) -> None:
    await write(dsn, "a", 3)
    server = start()
    port = await server.port()
    await serving(port)
    async with channel(port) as client:
        [chunk] = await snapshot(client)
        assert len(chunk.items) == 3
        assert chunk.summary.series == 3
        for metadata in ({"authorization": "Bearer wrong"}, {"x": "y"}):
            with pytest.raises(GRPCError) as refused:
                await snapshot(client, metadata)
            assert refused.value.status is Status.UNAUTHENTICATED
    http = await server.http_port()
    assert (await asked(http, "/livez"))[0] == 200
    assert (await asked(http, "/readyz"))[0] == 200
    _, scraped = await asked(http, "/metrics")
    assert b'snapshot_calls_total{code="UNAUTHENTICATED",method="CatalogSnapshot"} 2.0' in scraped
    assert b"snapshot_sent_items_total 3.0" in scraped
    assert b"projector_lease_held 1.0" in scraped
    assert await server.stop() == 0
    assert TOKEN not in server.text()
    assert [line for line in server.lines() if line["level"] == "error"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_end_in_the_middle_of_a_sync_it_ends_that_at_a_chunk(
    start: StartServer, dsn: str, number: signal.Signals
) -> None:
    await write(dsn, "a", 5000)
    server = start()
    port = await server.port()
    await serving(port)
    held = socket.create_connection(("127.0.0.1", port))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as client:
        call = client.unary_stream(
            SNAPSHOT,
            request_serializer=CatalogSnapshotRequest.SerializeToString,
            response_deserializer=CatalogSnapshotChunk.FromString,
        )(CatalogSnapshotRequest(limit=50), metadata=list(ADMITTED.items()))
        first: Any = await call.read()
        server.hit(number)
        await server.said("drain.started")
        items, cursor = len(first.items), first.next_cursor
        try:
            chunk: Any
            while (chunk := await call.read()) is not grpc.aio.EOF:
                items += len(chunk.items)
                cursor = chunk.next_cursor
                assert cursor
        except grpc.aio.AioRpcError as exc:
            ended = exc
        else:
            pytest.fail("it went on to the end")
    assert ended.code() is grpc.StatusCode.UNAVAILABLE
    # The server's own words, and not what the client makes of a broken connection.
    assert "go on with another" in str(ended.details())
    assert await server.ended(within_s=15) == 0
    held.close()
    assert 0 < items < 5000
    assert [line["event"] for line in server.lines()][-2:] == ["drain.ended", "server.stopped"]

    # Any other server goes on from there.
    other = start()
    await serving(await other.port())
    async with channel(await other.port()) as fresh:
        method: UnaryStreamMethod[Any, Any] = UnaryStreamMethod(
            fresh, SNAPSHOT, CatalogSnapshotRequest, CatalogSnapshotChunk
        )
        rest = await method(CatalogSnapshotRequest(cursor=cursor, limit=1000), metadata=ADMITTED)
    assert items + sum(len(chunk.items) for chunk in rest) == 5000


async def test_several_processes_share_a_port_and_the_one_that_dies_comes_back(
    start: StartServer, dsn: str
) -> None:
    await write(dsn, "a", 3)
    server = start(SNAPSHOT_SERVER_PROCESSES="2")
    first = await server.said("server.started", times=2)
    assert len({line["address"] for line in first}) == 1
    port = await server.port()
    await serving(port)
    children = [line["pid"] for line in server.lines("process.started")]
    os.kill(children[0], signal.SIGKILL)
    await server.said("server.started", times=3)
    await serving(port)
    async with channel(port) as client:
        assert len((await snapshot(client))[0].items) == 3
    assert await server.stop() == 0
    assert [line["code"] for line in server.lines("process.died")] == [-signal.SIGKILL]
    assert not any(alive(line["pid"]) for line in server.lines("process.started"))


async def test_processes_whose_parent_was_killed_end_by_themselves(start: StartServer) -> None:
    server = start(SNAPSHOT_SERVER_PROCESSES="2")
    await server.said("server.started", times=2)
    server.kill()
    children = [line["pid"] for line in server.lines("process.started")]

    async def gone() -> bool:
        return not any(alive(pid) for pid in children)

    await eventually(gone)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Authority:
    """Makes certificates, and the files that the server reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.issue()

    def issue(self) -> None:
        """A new certificate for the server, in the same files."""
        certificate = self.ca.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / "cert.pem"))
        self.ca.cert_pem.write_to_path(str(self.folder / "ca.pem"))

    def environment(self, *, mutual: bool) -> dict[str, str]:
        files = {"GRPC_TLS_CERT": "cert.pem", "GRPC_TLS_KEY": "key.pem"}
        if mutual:
            files["GRPC_TLS_CLIENT_CA"] = "ca.pem"
        return {name: str(self.folder / file) for name, file in files.items()}

    def client(self, *, signed_by: trustme.CA | None = None) -> ssl.SSLContext:
        """Trusts this authority, and has a certificate if somebody signs one."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        if signed_by:
            signed_by.issue_cert("client.internal").configure_cert(context)
        return context


async def serial(port: int, tls: ssl.SSLContext) -> str:
    """Which certificate the server shows."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost"
    )
    try:
        shown: dict[str, Any] = writer.get_extra_info("ssl_object").getpeercert()
        return str(shown["serialNumber"])
    finally:
        writer.transport.abort()


async def test_tls_serves_who_trusts_it_and_takes_up_new_files(
    start: StartServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server = start(**authority.environment(mutual=False))
    port, tls = await server.port(), authority.client()
    await serving(port, tls)
    async with channel(port, tls) as client:
        assert len(await snapshot(client)) == 1
        before = await serial(port, tls)
        (tmp_path / "cert.pem").write_text("half a file", "utf-8")
        await server.said("tls.kept")
        assert await serial(port, tls) == before
        authority.issue()
        await server.said("tls.reloaded")
        assert await serial(port, tls) != before
        # The connection that was there goes on.
        assert len(await snapshot(client)) == 1
    # Without TLS nobody is heard.
    async with channel(port) as plain:
        with pytest.raises((OSError, GRPCError, Exception)):
            await HealthStub(plain).Check(HealthCheckRequest(), timeout=5)
    assert await server.stop() == 0


async def test_mutual_tls_serves_whom_its_authority_knows_and_nobody_else(
    start: StartServer, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path), trustme.CA()
    server = start(**authority.environment(mutual=True))
    port, known = await server.port(), authority.client(signed_by=authority.ca)
    await serving(port, known)
    for unknown in (authority.client(), authority.client(signed_by=stranger)):
        async with channel(port, unknown) as client:
            with pytest.raises((OSError, GRPCError, Exception)):
                await HealthStub(client).Check(HealthCheckRequest(), timeout=5)
    # Another authority in the same file: from now on it is the one that counts.
    stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    await server.said("tls.reloaded")
    await serving(port, authority.client(signed_by=stranger))
    async with channel(port, known) as client:
        with pytest.raises((OSError, GRPCError, Exception)):
            await HealthStub(client).Check(HealthCheckRequest(), timeout=5)
    assert await server.stop() == 0


async def test_without_a_database_it_waits_and_says_so_once(
    start: StartServer, postgres: Postgres, dsn: str
) -> None:
    del dsn
    postgres.kill()
    server = start()
    port = await server.port()
    await server.said("server.not_serving")
    assert await health(port) == HealthCheckResponse.NOT_SERVING
    status, body = await asked(await server.http_port(), "/readyz")
    assert status == 503
    assert b"PostgreSQL has not answered yet" in body
    postgres.start()
    await server.said("server.serving")
    await serving(port)
    assert await server.stop() == 0
    reasons = [line["reason"] for line in server.lines("server.not_serving")]
    assert len(reasons) == len(set(reasons))


async def test_what_cannot_be_used_is_refused_with_a_sentence(
    start: StartServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        here = f"127.0.0.1:{taken.getsockname()[1]}"
        no_file = str(tmp_path / "none.pem")
        broken: list[tuple[dict[str, str], str]] = [
            ({"GRPC_BIND_ADDRESS": here}, f"GRPC_BIND_ADDRESS is {here}, and nobody can listen"),
            (
                {"GRPC_BIND_ADDRESS": here, "SNAPSHOT_SERVER_PROCESSES": "2"},
                f"GRPC_BIND_ADDRESS is {here}, and nobody can listen",
            ),
            ({"GRPC_BIND_ADDRESS": "192.0.2.1:1"}, "GRPC_BIND_ADDRESS is 192.0.2.1:1"),
            (
                # Each process finds that out for itself, and its parent does not try again.
                {"SNAPSHOT_HTTP_ADDRESS": here, "SNAPSHOT_SERVER_PROCESSES": "2"},
                f"SNAPSHOT_HTTP_ADDRESS is {here}",
            ),
            ({"SNAPSHOT_HTTP_ADDRESS": here}, f"SNAPSHOT_HTTP_ADDRESS is {here}"),
            ({"SERVICE_AUTH_TOKEN": ""}, "SERVICE_AUTH_TOKEN is not set"),
            ({"GRPC_TLS_CERT": no_file, "GRPC_TLS_KEY": no_file}, f"GRPC_TLS_CERT is {no_file}"),
        ]
        servers = [(start(**environment), said) for environment, said in broken]
        for server, said in servers:
            assert await server.ended() == 2, said
            assert said in server.text()
            assert "Traceback" not in server.text()


async def test_reflection_is_there_when_it_is_asked_for_and_needs_a_token(
    start: StartServer,
) -> None:
    server = start(GRPC_REFLECTION="on")
    async with channel(await server.port()) as client:
        ask = ServerReflectionStub(client).ServerReflectionInfo
        symbols = ("content.v1.ContentService", "grpc.health.v1.Health")
        wanted = [ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols]
        answers = await ask(wanted, metadata=ADMITTED)
        assert [len(found.file_descriptor_response.file_descriptor_proto) for found in answers] == [
            1,
            1,
        ]
        with pytest.raises(GRPCError) as refused:
            await ask(wanted)
        assert refused.value.status is Status.UNAUTHENTICATED
    assert await server.stop() == 0


async def test_status_tells_where_the_feed_is_and_who_keeps_it(
    start: StartServer, dsn: str, postgres: Postgres
) -> None:
    before = start("status", "--json")
    assert await before.ended() == 3
    assert json.loads(before.text())["position"] is None
    await write(dsn, "a", 3)
    server = start()
    await serving(await server.port())

    async def level() -> bool:
        status = start("status", "--json")
        if await status.ended() == 0:
            said = json.loads(status.text())
            assert (said["series"], said["lag_events"], said["problems"]) == (3, 0, [])
            assert said["projector"].split("/")[1] == str(server.pid)
            return True
        return False

    await eventually(level)
    shown = start("status")
    assert await shown.ended() == 0
    assert "3 series, 0 episodes" in shown.text()
    assert await server.stop() == 0
    postgres.kill()
    away = start("status")
    assert await away.ended() == 4
    assert "PostgreSQL is away" in away.text()
