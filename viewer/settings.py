"""What the environment says to the viewer and to the invalidator, read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from process.redis import url as redis_url
from process.settings import Reader
from viewer import keys
from viewer.manifest import Cdn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from process.address import Address
    from process.tokens import Tokens

_HTTP_ADDRESS = "0.0.0.0:8080"
_INVALIDATOR_HTTP_ADDRESS = "0.0.0.0:9467"
_CLUSTER = ("redis+cluster://", "rediss+cluster://")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where pages are cached, and for how long. The URL may hold a password."""

    redis_url: str = field(repr=False)
    ttl_s: int
    timeout_s: float
    """For an answer of the cache; after it the catalog is asked instead."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The viewer's. What may hold a password stays out of its repr."""

    database_url: str = field(repr=False)
    cdn: Cdn
    address: Address
    """Pages, health and metrics."""
    tokens: Tokens | None = field(repr=False)
    """None: everybody may ask."""
    cache: CacheSettings
    log_level: str
    drain_s: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting, whose sentence names every variable that is wrong."""
        read = Reader(environment)
        # Never another port than the one that the gateway was told.
        address = replace(read.address("VIEWER_HTTP_ADDRESS", _HTTP_ADDRESS), chosen=True)
        settings = cls(
            database_url=read.database_url(),
            cdn=_cdn(read),
            address=address,
            tokens=read.tokens("SERVICE_AUTH_TOKEN", at=address),
            cache=_cache(read),
            log_level=read.log_level(),
            drain_s=read.number("VIEWER_DRAIN_S", 10, 0, 3600),
        )
        read.refuse()
        return settings


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told what was purged. Neither part is for a log: a URL may hold a key."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvalidatorSettings:
    """The invalidator's."""

    redis_url: str = field(repr=False)
    """Of the stream."""
    stream: str
    partitions: int
    cache: CacheSettings
    webhook: Webhook | None
    http_address: Address | None
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting."""
        read = Reader(environment)
        stream, partitions = read.stream()
        if keys.is_page(stream) or stream.startswith(keys.OWN):
            name = "CATALOG_EVENT_STREAM_KEY"
            read.wrong(f"{name} is {stream!r}, which is a name that the cache has for pages")
        settings = cls(
            redis_url=read.redis_url(),
            stream=stream,
            partitions=partitions,
            cache=_cache(read, given=read.text("REDIS_URL") != ""),
            webhook=_webhook(read),
            http_address=read.address_or_off("CACHE_HTTP_ADDRESS", _INVALIDATOR_HTTP_ADDRESS),
            log_level=read.log_level(),
        )
        read.refuse()
        return settings


def _cache(read: Reader, *, given: bool = True) -> CacheSettings:
    name = "CACHE_REDIS_URL" if read.text("CACHE_REDIS_URL") else "REDIS_URL"
    url = read.text(name)
    if url.startswith(_CLUSTER):
        read.wrong(
            f"{name} is a cluster, and the cache needs a single server or Sentinel, as a page and"
            " what it was made from are in one script; set CACHE_REDIS_URL to another"
        )
    elif given:
        for sentence in redis_url.problems(url):
            read.wrong(sentence.replace("REDIS_URL", name, 1))
    return CacheSettings(
        redis_url=url,
        ttl_s=read.number("CACHE_TTL_S", 300, 1, 86_400),
        timeout_s=read.number("CACHE_TIMEOUT_MS", 200, 1, 10_000) / 1000,
    )


def _cdn(read: Reader) -> Cdn:
    text = read.text("CDN_BASE_URL")
    try:
        return Cdn.parse(text)
    except ValueError:
        given = f"is {text!r}" if text else "is not set"
        read.wrong(f"CDN_BASE_URL {given}; it must be an HTTPS URL such as https://cdn.example.com")
        return Cdn("", 0, "/")


def _webhook(read: Reader) -> Webhook | None:
    url, secret = read.text("CACHE_PURGE_WEBHOOK"), read.text("CACHE_PURGE_SECRET")
    if not url:
        return None
    if not _is_http(url):
        read.wrong("CACHE_PURGE_WEBHOOK is not a URL that begins with https:// or http://")
    if not secret:
        read.wrong("CACHE_PURGE_SECRET is not set, and CACHE_PURGE_WEBHOOK is signed with it")
    return Webhook(url, secret)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
