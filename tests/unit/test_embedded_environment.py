"""What the programs of `make run` are told."""

import socket
from pathlib import Path

import pytest

from embedded.environment import Told

ADDRESSES = {"DATABASE_URL": "postgresql:///ours", "REDIS_URL": "unix:///ours"}
LISTENING = (
    *("GRPC_BIND_ADDRESS", "VIEWER_HTTP_ADDRESS", "PUBLISHER_HTTP_ADDRESS"),
    *("SNAPSHOT_HTTP_ADDRESS", "CACHE_HTTP_ADDRESS", "CONSUMER_HTTP_ADDRESS"),
)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LISTENING, "SEARCH_INDEX", "SERVICE_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def told() -> Told:
    return Told(ADDRESSES, Path("/folder"), "https://cdn.example.com")


def test_everything_listens_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWER_HTTP_ADDRESS", "0.0.0.0:0")
    monkeypatch.setenv("GRPC_BIND_ADDRESS", "no address")
    environment = told().environment
    assert environment["VIEWER_HTTP_ADDRESS"] != "127.0.0.1:0"
    assert {environment[name].rpartition(":")[0] for name in LISTENING} == {"127.0.0.1"}


def test_a_port_that_is_taken_gives_way_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setenv("VIEWER_HTTP_ADDRESS", f"127.0.0.1:{taken}")
        host, _, port = told().viewer_address.rpartition(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) != taken
    # It is free again.
    assert told().viewer_address == f"127.0.0.1:{taken}"


def test_what_is_set_reaches_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLISHER_HTTP_ADDRESS", "off")
    monkeypatch.setenv("SERVICE_AUTH_TOKEN", "swordfish")
    monkeypatch.setenv("SEARCH_INDEX", "/elsewhere")
    monkeypatch.setenv("DATABASE_URL", "postgresql:///theirs")
    monkeypatch.setenv("DATABASE_URL_FILE", "/secret")
    now = told()
    assert now.has_token
    assert now.environment["PUBLISHER_HTTP_ADDRESS"] == "off"
    assert now.environment["SERVICE_AUTH_TOKEN"] == "swordfish"  # noqa: S105
    assert now.environment["DATABASE_URL"] == "postgresql:///ours"
    assert "DATABASE_URL_FILE" not in now.environment
    assert now.for_commands == {
        "SNAPSHOT_ADDRESS": now.environment["GRPC_BIND_ADDRESS"],
        "SEARCH_INDEX": "/elsewhere",
    }
