"""Looks at the feed every second: whether clients are to be sent here follows from it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from outbox.errors import CatalogStreamError
from snapshot_server import place
from snapshot_server.serving.health import Known, health_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import asyncpg

    from process.health import Health
    from snapshot_server.place import FeedPlace
    from snapshot_server.serving.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
_MAX_SILENCE_S = 5.0
"""A restart of PostgreSQL should not send clients away."""


class HealthWatch:
    """What is known of the feed, and what is made of it; *serve* is told what clients are told."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        metrics: Metrics,
        serve: Callable[[bool], None],
        *,
        max_lag_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._serve = serve
        self._max_lag_s = max_lag_s
        self._clock = clock
        self._place: FeedPlace | None = None
        self._looked_at = 0.0
        self._error: str | None = None
        self._draining = False
        self._said: str | None = None
        self.parts: Mapping[str, asyncio.Task[None]] = {}
        """What should be running in this process."""

    async def run(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once, and tell what follows."""
        try:
            self._place = await place.find(self._pool)
        except CatalogStreamError as exc:
            self._error = str(exc)
        else:
            self._looked_at, self._error = self._clock(), None
            self._metrics.looked(self._place)
        self._tell()

    def drain(self) -> None:
        """No client is to be sent here from now on."""
        self._draining = True
        self._tell()

    def health(self) -> Health:
        """As it is now."""
        seen, now = self._place, self._clock()
        known = Known(
            looked_s_ago=now - self._looked_at if seen else None,
            is_built=bool(seen and seen.is_built),
            lag_s=_age(seen.lag_s, now - self._looked_at) if seen else 0.0,
            draining=self._draining,
            ended=tuple(name for name, task in self.parts.items() if task.done()),
        )
        return health_of(known, max_lag_s=self._max_lag_s, max_silence_s=_MAX_SILENCE_S)

    def _tell(self) -> None:
        now = self.health()
        self._serve(now.is_ready)
        self._metrics.serving(holds=now.is_ready)
        # Until the silence is long enough to count, nothing is said of an error.
        if now.reason == self._said:
            return
        self._said = now.reason
        if now.is_ready:
            log.info("server.serving")
        else:
            log.warning("server.not_serving", reason=now.reason, error=self._error)


def _age(lag_s: float, since_s: float) -> float:
    """What was behind at the last look has grown older since."""
    return lag_s + since_s if lag_s else 0.0
