"""Redis over TLS, with certificates on both sides; single, behind Sentinel and as a cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from appending import as_entries, batch, client_of, deliver, failure_of
from publishing import KEY, entries
from redis.asyncio import Redis
from redis_servers import IN_MEMORY, Flavour, SentinelServer, binary_of, free_port, running, started

from embedded.errors import ServerDidNotStart
from embedded.valkey import Valkey
from outbox.errors import BadSetting, StreamUnavailable
from outbox.position import ORIGIN
from publisher.store.stream import EventStream

EVENTS = batch((5, 0, 3))


class Files:
    """Throw-away certificates, issued for 127.0.0.1 alone."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca, self.stranger = folder / "ca.pem", folder / "stranger.pem"
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.stranger))
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.key))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(self.certificate), append=True)

    def settings(self, port: int) -> dict[str, str]:
        """Of a server that wants to see certificates too."""
        return {
            "tls-port": str(port),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.ca),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
        }

    @property
    def options(self) -> str:
        """Of a client that shows its certificate."""
        return f"ssl_ca_certs={self.ca}&ssl_certfile={self.certificate}&ssl_keyfile={self.key}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


@contextmanager
def tls_server(folder: Path, files: Files, port: int, **more: str) -> Iterator[Valkey]:
    settings = IN_MEMORY | files.settings(port) | {k.replace("_", "-"): v for k, v in more.items()}
    with ExitStack() as server:
        try:
            yield server.enter_context(running(folder, settings, flavour=Flavour.REDIS_ON_PATH))
        except ServerDidNotStart as exc:
            if "tls-" not in str(exc):
                raise
            pytest.skip("NOT TESTED: the redis-server on the PATH was built without TLS")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[int]:
    """Where a server with TLS listens."""
    port = free_port()
    with tls_server(tmp_path_factory.mktemp("tls") / "server", files, port):
        yield port


async def test_appends_are_made_over_tls(files: Files, port: int) -> None:
    async with client_of(f"rediss://127.0.0.1:{port}?{files.options}") as redis:
        assert await EventStream(redis, KEY).append(EVENTS, after=ORIGIN) == (3, ORIGIN)
        assert await entries(redis) == as_entries(EVENTS)


@pytest.mark.parametrize(
    ("host", "options", "outcome"),
    [
        ("127.0.0.1", "ssl_ca_certs={ca}", "away"),
        ("127.0.0.1", "ssl_ca_certs={stranger}&{mine}", "certificate verify failed"),
        ("127.0.0.1", "{mine}", "certificate verify failed"),
        ("localhost", "ssl_ca_certs={ca}&{mine}", "Hostname mismatch"),
        ("localhost", "ssl_ca_certs={ca}&{mine}&ssl_check_hostname=false", "nothing"),
        ("localhost", "{mine}&ssl_cert_reqs=none", "nothing"),
    ],
)
async def test_who_is_not_known_is_not_talked_to(
    files: Files, port: int, host: str, options: str, outcome: str
) -> None:
    mine = f"ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
    query = options.format(ca=files.ca, stranger=files.stranger, mine=mine)
    async with client_of(f"rediss://{host}:{port}?{query}") as redis:
        asking = EventStream(redis, KEY).top()
        if outcome in ("away", "nothing"):
            assert await failure_of(asking) == outcome
        else:
            with pytest.raises(StreamUnavailable, match=outcome):
                await asking


async def test_without_tls_such_a_server_is_away(port: int) -> None:
    async with client_of(f"redis://127.0.0.1:{port}?socket_timeout=1") as redis:
        assert await failure_of(EventStream(redis, KEY).top()) == "away"


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BadSetting, match=f"/nowhere.pem as {name}"):
        client_of(f"rediss://127.0.0.1?{name}=/nowhere.pem")


async def test_sentinel_and_its_primary_are_reached_over_tls(
    tmp_path: Path, files: Files, port: int
) -> None:
    sentinel_port = free_port()
    lines = [f"{name} {value}" for name, value in files.settings(sentinel_port).items()]
    lines.append(f"sentinel monitor catalog 127.0.0.1 {port} 1")
    sentinel = SentinelServer(
        tmp_path / "sentinel",
        port=0,
        binary=binary_of(Flavour.REDIS_ON_PATH),
        lines=tuple(lines),
    )
    url = f"rediss+sentinel://127.0.0.1:{sentinel_port}/catalog/3?{files.options}"
    with started(sentinel):
        async with client_of(url) as redis:
            await deliver(EventStream(redis, KEY), [EVENTS])
            assert await entries(redis) == as_entries(EVENTS)


async def test_a_cluster_is_reached_over_tls(tmp_path: Path, files: Files) -> None:
    port = free_port()
    more = {"cluster_enabled": "yes", "tls_cluster": "yes", "cluster_port": str(free_port())}
    with tls_server(tmp_path / "node", files, port, **more) as node:
        async with Redis.from_url(node.url, decode_responses=True) as admin:
            raw: Any = admin
            await raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with client_of(f"rediss+cluster://127.0.0.1:{port}?{files.options}") as redis:
            await deliver(EventStream(redis, KEY), [EVENTS])
            assert await entries(redis) == as_entries(EVENTS)
