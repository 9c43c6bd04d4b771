"""Purges what events touch; a consumer of whole batches, whose effect is in the cache alone."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError, ResponseError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from consumer.errors import EventUnreadable
from outbox.errors import StreamUnavailable
from outbox.position import ORIGIN, Position
from viewer.documents import manifests_in
from viewer.errors import CacheClosed, CacheUnavailable
from viewer.keys import label_of, tags_of
from viewer.purging.message import Message
from viewer.reports import CacheEmptied, Purged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis
    from tenacity import RetryCallState

    from consumer.event import Event, Gap, Group
    from viewer.cache.store import Store
    from viewer.purging.webhook import Hook
    from viewer.reports import ObservePurges

log = structlog.get_logger(__name__)

GROUP = "cache-invalidator"


class Invalidator:
    """*redis* is where the stream is, *store* where the pages are."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        observe: ObservePurges,
        *,
        hook: Hook | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        # redis-py types every answer as all that any of its settings could make of it.
        self._redis: Any = redis
        self._store = store
        self._observe = observe
        self._hook = hook
        self._wall_clock = wall_clock

    async def purge(self, events: Sequence[Event]) -> None:
        """Return when nothing that was made before *events* is cached. Raises CacheUnavailable."""
        began = time.perf_counter()
        tags = {tag for event in events for tag in _tags(event)}
        gone = await self._store.purge(tags, with_bodies=self._hook is not None) if tags else []
        now = self._wall_clock()
        self._observe(
            Purged(
                events=len(events),
                tags=len(tags),
                labels=[label_of(page.key) for page in gone],
                delays_s=[_age(event, now) for event in events],
                took_s=time.perf_counter() - began,
            )
        )
        if self._hook and tags:
            urls = (url for page in gone for url in manifests_in(page.body))
            self._hook.tell(
                Message(
                    id=secrets.token_hex(16),
                    tags=sorted(tags),
                    keys=[page.key for page in gone],
                    manifest_urls=list(dict.fromkeys(urls)),
                    event_ids=[event.id for event in events],
                )
            )

    async def begin(self, group: Group) -> Position:
        """Where a new group begins, with an empty cache: what came before needs no purge then."""
        return await self._emptied(group.stream, "the group is new")

    async def heal(self, gap: Gap) -> Position:
        """Where the group goes on: what it has missed may have touched every page."""
        return await self._emptied(gap.stream, "events are missing")

    async def _emptied(self, stream: str, reason: str) -> Position:
        # Whoever raises here ends the consumer: it is worth waiting for both servers.
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((StreamUnavailable, CacheUnavailable, CacheClosed)),
            wait=wait_random_exponential(0.1, 5),
            before_sleep=_said,
        ):
            with attempt:
                # First: whoever reads a page after the cache was emptied has all up to there.
                end = await self._end_of(stream)
                pages = await self._store.empty()
        self._observe(CacheEmptied(pages, reason))
        if self._hook:
            self._hook.tell(Message(id=secrets.token_hex(16), everything=True))
        return end

    async def _end_of(self, stream: str) -> Position:
        try:
            info = await self._redis.xinfo_stream(stream)
        except ResponseError as exc:
            if "no such key" in str(exc):
                return ORIGIN
            raise StreamUnavailable(f"Redis refused: {exc}") from exc
        except (RedisError, OSError, TimeoutError) as exc:
            raise StreamUnavailable(f"Redis is away: {exc or type(exc).__name__}") from exc
        return Position.parse(info["last-generated-id"])


def _said(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("cache.not_emptied", error=str(error), attempt=state.attempt_number)


def _tags(event: Event) -> set[str]:
    found = set()
    try:
        for tag in tags_of(event):
            found.add(tag)
    except EventUnreadable as exc:
        log.warning("event.unreadable", event_id=event.id, stream=event.stream, error=str(exc))
    return found


def _age(event: Event, now: float) -> float:
    try:
        written = datetime.fromisoformat(event.timestamp)
    except ValueError:
        return 0.0
    if written.tzinfo is None:
        written = written.replace(tzinfo=UTC)
    return max(now - written.timestamp(), 0.0)
