"""The publisher's environment: read once, and refused with the names of what is wrong."""

import pytest

from outbox.errors import BadSetting
from process.address import Address
from publisher.settings import Limits, Settings

GOOD = {
    "DATABASE_URL": "postgresql://writer:hunter2@db/catalog",
    "REDIS_URL": "rediss://:swordfish@cache:6380/0",
}
SECRETS = ["hunter2", "swordfish"]


def test_two_addresses_are_enough() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.database_url == GOOD["DATABASE_URL"]
    assert settings.redis_url == GOOD["REDIS_URL"]
    assert settings.stream_key == "catalog:events"
    assert settings.log_level == "info"
    assert settings.doorbell
    assert settings.limits == Limits(1000, 1 << 20, 8 << 20, 5)
    assert (settings.partitions, settings.stream_keys) == (1, ["catalog:events"])
    assert (settings.retention_hours, settings.stream_max_memory_mb) == (24, 1024)
    assert settings.outbox_retention_days == 7
    assert settings.http_address == Address("0.0.0.0", 9464, chosen=False)  # noqa: S104
    assert settings.ready_max_age_s == 60


def test_every_setting_is_taken_from_the_environment() -> None:
    settings = Settings.from_environment(
        GOOD
        | {
            "CATALOG_EVENT_STREAM_KEY": "other:events",
            "CATALOG_EVENT_STREAM_PARTITIONS": "3",
            "PUBLISHER_MAX_EVENT_BYTES": "2048",
            "PUBLISHER_MAX_ATTEMPTS": "3",
            "STREAM_RETENTION_HOURS": "2",
            "STREAM_MAX_MEMORY_MB": "64",
            "OUTBOX_RETENTION_DAYS": "30",
            "LOG_LEVEL": "DEBUG",
            "PUBLISHER_DOORBELL": "off",
            "PUBLISHER_BATCH_SIZE": "10000",
            "PUBLISHER_HTTP_ADDRESS": "localhost:80",
            "PUBLISHER_READY_MAX_AGE_S": "5",
        }
    )
    assert (settings.stream_key, settings.log_level) == ("other:events", "debug")
    assert (settings.doorbell, settings.limits.batch_size) == (False, 10_000)
    assert settings.stream_keys == [f"other:events:{{{number}}}" for number in range(3)]
    assert (settings.limits.max_event_bytes, settings.limits.max_attempts) == (2048, 3)
    assert (settings.retention_hours, settings.stream_max_memory_mb) == (2, 64)
    assert settings.outbox_retention_days == 30
    assert settings.http_address == Address("localhost", 80, chosen=True)
    assert settings.ready_max_age_s == 5


@pytest.mark.parametrize("off", ["off", "OFF"])
def test_health_and_metrics_can_be_switched_off(off: str) -> None:
    settings = Settings.from_environment(GOOD | {"PUBLISHER_HTTP_ADDRESS": off})
    assert settings.http_address is None


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "[::1]:9464", "[::]:0", "publisher-1:80"])
def test_an_address_is_told_as_it_was_written(text: str) -> None:
    settings = Settings.from_environment(GOOD | {"PUBLISHER_HTTP_ADDRESS": text})
    assert str(settings.http_address) == text


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    optional = [
        *["CATALOG_EVENT_STREAM_KEY", "CATALOG_EVENT_STREAM_PARTITIONS", "LOG_LEVEL"],
        *["PUBLISHER_DOORBELL", "PUBLISHER_BATCH_SIZE"],
        *["PUBLISHER_HTTP_ADDRESS", "PUBLISHER_READY_MAX_AGE_S"],
    ]
    emptied = Settings.from_environment(GOOD | dict.fromkeys(optional, ""))
    assert emptied == Settings.from_environment(GOOD)


@pytest.mark.parametrize(
    "url",
    [
        *["redis://somewhere", "rediss://somewhere", "unix:///somewhere"],
        *["redis+sentinel://somewhere/main", "rediss+sentinel://somewhere/main"],
        *["redis+cluster://somewhere", "rediss+cluster://somewhere"],
    ],
)
def test_redis_is_reached_in_each_way_that_its_client_knows(url: str) -> None:
    Settings.from_environment(GOOD | {"REDIS_URL": url})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "db/catalog"),
        ("DATABASE_URL", "mysql://writer:hunter2@db/catalog"),
        ("DATABASE_URL", "postgresql://writer:hunter2@[::1/catalog"),
        ("REDIS_URL", ""),
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "http://:swordfish@cache"),
        ("REDIS_URL", "redis://:swordfish@[::1"),
        ("LOG_LEVEL", "loud"),
        ("PUBLISHER_DOORBELL", "yes"),
        ("PUBLISHER_BATCH_SIZE", "0"),
        ("PUBLISHER_BATCH_SIZE", "10001"),
        ("PUBLISHER_BATCH_SIZE", "-5"),
        ("PUBLISHER_BATCH_SIZE", "1e3"),
        ("PUBLISHER_BATCH_SIZE", "\u0663"),
        ("CATALOG_EVENT_STREAM_PARTITIONS", "0"),
        ("CATALOG_EVENT_STREAM_PARTITIONS", "65"),
        ("CATALOG_EVENT_STREAM_PARTITIONS", "many"),
        ("PUBLISHER_HTTP_ADDRESS", "9464"),
        ("PUBLISHER_HTTP_ADDRESS", ":9464"),
        ("PUBLISHER_HTTP_ADDRESS", "localhost"),
        ("PUBLISHER_HTTP_ADDRESS", "localhost:http"),
        ("PUBLISHER_HTTP_ADDRESS", "localhost:65536"),
        ("PUBLISHER_READY_MAX_AGE_S", "0"),
        ("PUBLISHER_READY_MAX_AGE_S", "a minute"),
    ],
)
def test_a_bad_variable_is_named_and_its_secret_is_not_told(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment(GOOD | {name: value})
    said = str(refused.value)
    assert said.startswith(f"{name} is ")
    assert [other for other in GOOD if other in said] == [n for n in GOOD if n == name]
    assert not any(secret in said for secret in SECRETS)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment({"LOG_LEVEL": "loud", "PUBLISHER_BATCH_SIZE": "none"})
    said = str(refused.value).split("; ")
    for name in ("DATABASE_URL", "REDIS_URL", "LOG_LEVEL", "PUBLISHER_BATCH_SIZE"):
        assert sum(name in sentence for sentence in said) == 1


def test_passwords_stay_out_of_what_is_printed() -> None:
    shown = repr(Settings.from_environment(GOOD))
    assert not any(secret in shown for secret in SECRETS)
    assert "catalog:events" in shown
