"""A real Envoy, as `deploy/` sets it up: who comes in, what is written down, what it outlives."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from deployed import Deployed, deployed, run
from envoy import Envoy, envoy_before
from processes import eventually
from redis_servers import free_port

from snapshot_server.client.channels import Tls
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.errors import SyncUnavailable, Unauthenticated
from snapshot_server.client.patience import Patience

PEER = "DNS:search-service"
ONCE, LONG = Patience(attempts=1), Patience(attempts=1000, backoff_cap_s=0.2)


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    folder, grpc = tmp_path_factory.mktemp("envoy"), free_port()
    address = {"GRPC_BIND_ADDRESS": f"127.0.0.1:{grpc}", "SNAPSHOT_HTTP_ADDRESS": "off"}
    with (
        deployed(folder) as world,
        envoy_before(world, folder, grpc) as envoy,
        world.running("publisher", "publisher", PUBLISHER_HTTP_ADDRESS="off"),
        world.running("snapshot-server", "snapshot_server", **address),
    ):
        yield envoy


def token_of(world: Deployed) -> str:
    return world.secret("search/service-auth-token")


async def chunks(
    envoy: Envoy, tls: Tls | None, token: str | None = None, patience: Patience = ONCE
) -> int:
    """Of a whole sync."""
    token = token or token_of(envoy.world)
    async with SnapshotClient(envoy.address, token, tls=tls, patience=patience) as client:
        return len([chunk async for chunk in client.sync()])


async def test_a_caller_with_the_right_name_and_token_syncs_and_is_written_down_without_the_token(
    envoy: Envoy,
) -> None:
    admin = await asyncpg.connect(envoy.world.secret("admin-tools/database-url"))
    await admin.execute("INSERT INTO catalog.category (slug, name) VALUES ('ponds', 'Ponds')")
    await admin.close()
    # It may have to wait for the server, and for Envoy's look at its health.
    assert await chunks(envoy, envoy.caller(PEER), patience=LONG)

    async def is_written_down() -> bool:
        calls = envoy.lines("call")
        return bool(calls) and (calls[-1]["peer"], calls[-1]["status"]) == ("search-service", "OK")

    await eventually(is_written_down)
    assert token_of(envoy.world) not in (envoy.home / "log").read_text("utf-8")
    assert "envoy_cluster_upstream_rq_total" in envoy.figures()


async def test_a_wrong_token_is_refused_by_the_server_itself(envoy: Envoy) -> None:
    await chunks(envoy, envoy.caller(PEER), patience=LONG)
    with pytest.raises(Unauthenticated):
        await chunks(envoy, envoy.caller(PEER), "wrong")


@pytest.mark.parametrize("names", [None, "DNS:another-service", "DNS:search-service.evil.example"])
async def test_a_caller_without_a_certificate_or_in_another_name_does_not_come_in(
    envoy: Envoy, names: str | None
) -> None:
    before = len(envoy.lines("connection"))
    with pytest.raises(SyncUnavailable):
        await chunks(envoy, envoy.caller(names))

    async def is_written_down() -> bool:
        return any(line["refused"] for line in envoy.lines("connection")[before:])

    await eventually(is_written_down)


async def test_a_caller_of_another_authority_or_without_tls_does_not_come_in(
    envoy: Envoy, tmp_path: Path
) -> None:
    (tmp_path / "ca").mkdir()
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other"
    files = ["-keyout", str(tmp_path / "ca/ca.key"), "-out", str(tmp_path / "ca/ca.crt")]
    run(["openssl", *words.split(), *files], {})
    for tls in (envoy.caller(PEER, ca=tmp_path / "ca"), None):
        with pytest.raises(SyncUnavailable):
            await chunks(envoy, tls)


async def test_a_renewed_certificate_is_shown_to_new_callers_without_a_restart(
    envoy: Envoy,
) -> None:
    await chunks(envoy, envoy.caller(PEER), patience=LONG)
    host, _, port = envoy.address.partition(":")
    before = ssl.get_server_certificate((host, int(port)))
    envoy.renew()

    async def is_shown() -> bool:
        return ssl.get_server_certificate((host, int(port))) != before

    await eventually(is_shown)
    assert await chunks(envoy, envoy.caller(PEER))


async def test_one_that_fails_its_health_check_sends_callers_elsewhere_and_takes_them_again(
    envoy: Envoy,
) -> None:
    await chunks(envoy, envoy.caller(PEER), patience=LONG)
    envoy.asked_to("/healthcheck/fail")
    with pytest.raises(SyncUnavailable):
        await chunks(envoy, envoy.caller(PEER))
    envoy.asked_to("/healthcheck/ok")
    assert await chunks(envoy, envoy.caller(PEER))
