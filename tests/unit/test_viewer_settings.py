"""What the viewer and the invalidator take from the environment."""

from __future__ import annotations

import pytest

from outbox.errors import BadSetting
from viewer.settings import InvalidatorSettings, Settings

GOOD = {
    "DATABASE_URL": "postgresql://viewer:hunter2@db/catalog",
    "REDIS_URL": "redis://:hunter3@redis",
    "CDN_BASE_URL": "https://cdn.example.com",
    "SERVICE_AUTH_TOKEN": "swordfish,tuna",
    "CACHE_PURGE_WEBHOOK": "https://gateway/purge?key=hunter4",
    "CACHE_PURGE_SECRET": "hunter5",
}
SECRETS = ("hunter", "swordfish", "tuna")


def test_a_viewer_and_an_invalidator_need_little() -> None:
    settings = Settings.from_environment(GOOD)
    assert (str(settings.cdn), settings.cache.ttl_s) == ("https://cdn.example.com/", 300)
    invalidator = InvalidatorSettings.from_environment(GOOD)
    assert (invalidator.stream, invalidator.partitions) == ("catalog:events", 1)
    assert not any(secret in repr(settings) + repr(invalidator) for secret in SECRETS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://hunter2"),
        ("REDIS_URL", ""),
        ("CDN_BASE_URL", ""),
        ("CDN_BASE_URL", "http://cdn.example.com"),
        ("CDN_BASE_URL", "https://cdn.example.com?a"),
        ("SERVICE_AUTH_TOKEN", ""),
        ("SERVICE_AUTH_TOKEN", "swordfish,"),
        ("VIEWER_HTTP_ADDRESS", "8080"),
        ("VIEWER_HTTP_ADDRESS", "off"),
        ("VIEWER_DRAIN_S", "-1"),
        ("CACHE_TTL_S", "0"),
        ("CACHE_TIMEOUT_MS", "soon"),
        ("CACHE_REDIS_URL", "http://hunter3"),
        ("CACHE_REDIS_URL", "redis+cluster://hunter3@a,b"),
        ("REDIS_URL", "rediss+cluster://hunter3@a,b"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_variable_is_named_once_and_its_secret_is_not_told(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment(GOOD | {name: value})
    said = str(refused.value)
    assert said.startswith(f"{name} ")
    assert not any(secret in said for secret in SECRETS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", ""),
        ("CACHE_PURGE_WEBHOOK", "gateway/purge"),
        ("CACHE_PURGE_WEBHOOK", "ftp://gateway/hunter4"),
        ("CACHE_PURGE_SECRET", ""),
        ("CACHE_HTTP_ADDRESS", "9467"),
        ("CATALOG_EVENT_STREAM_KEY", "catalog:episode:events"),
        ("CATALOG_EVENT_STREAM_PARTITIONS", "65"),
    ],
)
def test_a_bad_variable_of_the_invalidator_is_named_too(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        InvalidatorSettings.from_environment(GOOD | {name: value})
    said = str(refused.value)
    assert said.startswith(f"{name} ")
    assert said.count(name) == 1 or ";" not in said
    assert not any(secret in said for secret in SECRETS)


def test_the_stream_may_be_in_a_cluster_if_the_cache_is_elsewhere() -> None:
    apart = GOOD | {"REDIS_URL": "redis+cluster://a,b", "CACHE_REDIS_URL": "redis://c"}
    assert InvalidatorSettings.from_environment(apart).cache.redis_url == "redis://c"
    with pytest.raises(BadSetting, match="CACHE_REDIS_URL"):
        InvalidatorSettings.from_environment(apart | {"CACHE_REDIS_URL": ""})


def test_without_a_token_a_viewer_is_for_this_machine_alone() -> None:
    open_to_all = GOOD | {"SERVICE_AUTH_TOKEN": "", "ALLOW_UNAUTHENTICATED": "1"}
    with pytest.raises(BadSetting, match="loopback"):
        Settings.from_environment(open_to_all)
    here = open_to_all | {"VIEWER_HTTP_ADDRESS": "127.0.0.1:8080"}
    assert Settings.from_environment(here).tokens is None
