"""What the environment says to reference consumers is read once, and refused with its names."""

import pytest

from consumer.reference.environment import Settings, StreamSettings
from outbox.errors import BadSetting

HERE = {"DATABASE_URL": "postgresql://shared/db", "REDIS_URL": "redis://h"}


def test_little_has_to_be_set() -> None:
    settings = Settings.from_environment({"REDIS_URL": "redis://h"})
    assert settings.streams.keys == ["catalog:events"]
    assert (settings.lanes, settings.lease_s, settings.attempts) == (8, 5, 5)
    assert settings.name is None
    assert str(settings.http_address) == "0.0.0.0:9466"


def test_a_consumer_has_its_own_database_or_the_shared_one() -> None:
    own = {"CONSUMER_DATABASE_URL": "postgresql://own/db"}
    for environment, url in ((HERE, HERE["DATABASE_URL"]), (HERE | own, "postgresql://own/db")):
        settings = Settings.from_environment(environment, needs_database=True)
        assert settings.database_url == url


def test_partitions_are_streams_of_their_own() -> None:
    environment = HERE | {"CATALOG_EVENT_STREAM_PARTITIONS": "2", "CATALOG_EVENT_STREAM_KEY": "e"}
    assert StreamSettings.from_environment(environment).keys == ["e:{0}", "e:{1}"]


def test_what_may_hold_a_password_is_never_shown() -> None:
    secret = {"DATABASE_URL": "postgresql://u:4711@h/db", "REDIS_URL": "redis://:4711@h"}
    assert "4711" not in repr(Settings.from_environment(secret, needs_database=True))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CONSUMER_LANES", "0"),
        ("CONSUMER_LEASE_S", "soon"),
        ("CONSUMER_MAX_ATTEMPTS", "0"),
        ("CONSUMER_HTTP_ADDRESS", "here"),
        ("CONSUMER_DATABASE_URL", "nowhere"),
        ("REDIS_URL", "http://"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(setting: str, value: str) -> None:
    with pytest.raises(BadSetting, match=setting):
        Settings.from_environment(HERE | {setting: value}, needs_database=True)
