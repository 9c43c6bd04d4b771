"""The snapshot server's environment: read once, and refused with the names of what is wrong."""

import pytest

from outbox.errors import BadSetting
from process.address import Address
from snapshot_server.content.limits import Limits
from snapshot_server.settings import Settings, TlsFiles

GOOD = {
    "DATABASE_URL": "postgresql://reader:hunter2@db/catalog",
    "SERVICE_AUTH_TOKEN": "swordfish",
}
OPEN = {"DATABASE_URL": GOOD["DATABASE_URL"], "ALLOW_UNAUTHENTICATED": "1"}
SECRETS = ["hunter2", "swordfish"]


def test_a_database_and_a_token_are_enough() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.database_url == GOOD["DATABASE_URL"]
    assert settings.tokens
    assert settings.address == Address("0.0.0.0", 50061, chosen=False)  # noqa: S104
    assert settings.http_address == Address("0.0.0.0", 9465, chosen=False)  # noqa: S104
    assert (settings.tls, settings.reflection, settings.projector) == (None, False, True)
    assert settings.limits == Limits()
    assert (settings.processes, settings.drain_s, settings.tombstone_days) == (1, 10, 30)
    assert (settings.log_level, settings.ready_max_lag_s) == ("info", 60)


def test_every_setting_is_taken_from_the_environment() -> None:
    settings = Settings.from_environment(
        GOOD
        | {
            "GRPC_BIND_ADDRESS": "[::1]:1",
            "GRPC_TLS_CERT": "/cert",
            "GRPC_TLS_KEY": "/key",
            "GRPC_TLS_CLIENT_CA": "/ca",
            "GRPC_REFLECTION": "on",
            "LOG_LEVEL": "DEBUG",
            "SNAPSHOT_SERVER_PROCESSES": "3",
            "SNAPSHOT_MAX_FULL_SYNCS": "2",
            "SNAPSHOT_MAX_CHUNK_BYTES": "2048",
            "SNAPSHOT_STALLED_READER_S": "5",
            "SNAPSHOT_DRAIN_S": "0",
            "SNAPSHOT_READY_MAX_LAG_S": "7",
            "SNAPSHOT_HTTP_ADDRESS": "off",
            "SNAPSHOT_PROJECTOR": "off",
            "SNAPSHOT_TOMBSTONE_DAYS": "9",
        }
    )
    assert settings.address == Address("::1", 1)
    assert settings.tls == TlsFiles("/cert", "/key", "/ca")
    assert (settings.reflection, settings.log_level) == (True, "debug")
    assert (settings.processes, settings.drain_s, settings.tombstone_days) == (3, 0, 9)
    assert (settings.limits.max_full_syncs, settings.limits.max_chunk_bytes) == (2, 2048)
    assert (settings.limits.stalled_reader_s, settings.ready_max_lag_s) == (5, 7)
    assert (settings.http_address, settings.projector) == (None, False)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    optional = [
        *["GRPC_BIND_ADDRESS", "GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CLIENT_CA"],
        *["GRPC_REFLECTION", "LOG_LEVEL", "ALLOW_UNAUTHENTICATED", "SNAPSHOT_SERVER_PROCESSES"],
        *["SNAPSHOT_HTTP_ADDRESS", "SNAPSHOT_PROJECTOR", "SNAPSHOT_DRAIN_S"],
    ]
    emptied = Settings.from_environment(GOOD | dict.fromkeys(optional, ""))
    assert emptied == Settings.from_environment(GOOD)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.1.2.3:50061", "[::1]:5", "localhost:80"])
def test_without_a_token_it_may_be_reached_from_this_machine_alone(address: str) -> None:
    settings = Settings.from_environment(OPEN | {"GRPC_BIND_ADDRESS": address})
    assert settings.tokens is None


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0:50061", "[::]:50061", "10.0.0.1:1", "snapshot.internal:50061"]
)
def test_without_a_token_it_is_not_offered_to_other_machines(address: str) -> None:
    with pytest.raises(BadSetting, match=r"SERVICE_AUTH_TOKEN is not set, and .* loopback"):
        Settings.from_environment(OPEN | {"GRPC_BIND_ADDRESS": address})


def test_without_a_token_and_without_leave_it_refuses_to_start() -> None:
    local = {"DATABASE_URL": GOOD["DATABASE_URL"], "GRPC_BIND_ADDRESS": "127.0.0.1:0"}
    with pytest.raises(BadSetting, match=r"^SERVICE_AUTH_TOKEN is not set"):
        Settings.from_environment(local)


def test_with_leave_and_a_token_the_token_is_asked_for() -> None:
    assert Settings.from_environment(GOOD | {"ALLOW_UNAUTHENTICATED": "1"}).tokens


def test_a_projector_needs_no_token() -> None:
    settings = Settings.of_projector({"DATABASE_URL": GOOD["DATABASE_URL"], "LOG_LEVEL": "debug"})
    assert settings.log_level == "debug"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://reader:hunter2@db/catalog"),
        ("SERVICE_AUTH_TOKEN", "swordfish,"),
        ("SERVICE_AUTH_TOKEN", "swordfish two"),
        ("SERVICE_AUTH_TOKEN", "swordfish\u00e4"),
        ("ALLOW_UNAUTHENTICATED", "perhaps"),
        ("GRPC_BIND_ADDRESS", "50061"),
        ("GRPC_BIND_ADDRESS", "off"),
        ("GRPC_BIND_ADDRESS", "localhost:65536"),
        ("GRPC_REFLECTION", "yes"),
        ("SNAPSHOT_SERVER_PROCESSES", "0"),
        ("SNAPSHOT_MAX_FULL_SYNCS", "0"),
        ("SNAPSHOT_MAX_CHUNK_BYTES", "4194304"),
        ("SNAPSHOT_MAX_CHUNK_BYTES", "1 MiB"),
        ("SNAPSHOT_STALLED_READER_S", "0"),
        ("SNAPSHOT_DRAIN_S", "-1"),
        ("SNAPSHOT_HTTP_ADDRESS", "9465"),
        ("SNAPSHOT_PROJECTOR", "1"),
        ("SNAPSHOT_TOMBSTONE_DAYS", "0"),
    ],
)
def test_a_bad_variable_is_named_and_its_secret_is_not_told(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment(GOOD | {name: value})
    said = str(refused.value)
    assert said.startswith(f"{name} ")
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["GRPC_TLS_CERT"], "GRPC_TLS_KEY"),
        (["GRPC_TLS_KEY"], "GRPC_TLS_CERT"),
        (["GRPC_TLS_CLIENT_CA"], "GRPC_TLS_CERT"),
    ],
)
def test_half_of_tls_is_refused(given: list[str], missing: str) -> None:
    with pytest.raises(BadSetting, match=f"^{missing}"):
        Settings.from_environment(GOOD | dict.fromkeys(given, "/file"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment({"LOG_LEVEL": "loud", "SNAPSHOT_DRAIN_S": "none"})
    said = str(refused.value).split("; ")
    for name in ("DATABASE_URL", "SERVICE_AUTH_TOKEN", "LOG_LEVEL", "SNAPSHOT_DRAIN_S"):
        assert sum(name in sentence for sentence in said) == 1


def test_passwords_and_tokens_stay_out_of_what_is_printed() -> None:
    settings = Settings.from_environment(GOOD)
    shown = repr(settings) + repr(settings.tokens)
    assert not any(secret in shown for secret in SECRETS)


def test_each_of_several_processes_has_http_at_a_port_of_its_own() -> None:
    settings = Settings.from_environment(GOOD | {"SNAPSHOT_SERVER_PROCESSES": "3"})
    ports = [settings.of_process(number).http_address for number in range(3)]
    assert [address.port for address in ports if address] == [9465, 9466, 9467]
    anywhere = Settings.from_environment(GOOD | {"SNAPSHOT_HTTP_ADDRESS": "127.0.0.1:0"})
    assert anywhere.of_process(2).http_address == anywhere.http_address
