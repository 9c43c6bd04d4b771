"""Whether the viewer is of use: it is, while the catalog can be read. The cache is a help only."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from outbox.errors import CatalogStreamError
from process.health import Condition, Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viewer.cache.shield import Shield
    from viewer.catalog import Catalog
    from viewer.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
_MAX_SILENCE_S = 5.0
"""A restart of PostgreSQL should not send clients away."""


class Watch:
    """Asks the catalog every second."""

    def __init__(
        self,
        catalog: Catalog,
        cache: Shield,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._metrics = metrics
        self._clock = clock
        self._answered_at: float | None = None
        self._error = ""
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
        """Look once."""
        try:
            await self._catalog.answers()
        except CatalogStreamError as exc:
            self._error = str(exc)
        else:
            self._answered_at = self._clock()
        self._tell()

    def drain(self) -> None:
        """No client is to be sent here from now on."""
        self._draining = True
        self._tell()

    def health(self) -> Health:
        """As it is now."""
        ended = [name for name, task in self.parts.items() if task.done()]
        running = f"ended: {', '.join(ended)}" if ended else "all are running"
        stays = "shutting down" if self._draining else "not shutting down"
        return Health(
            live=(Condition("parts", holds=not ended, reason=running),),
            ready=(Condition("stays", holds=not self._draining, reason=stays), self._database()),
            also={"cache": self._cache.is_usable},
        )

    def _database(self) -> Condition:
        if self._answered_at is None:
            return Condition("database", holds=False, reason="PostgreSQL has not answered yet")
        if self._clock() - self._answered_at > _MAX_SILENCE_S:
            return Condition("database", holds=False, reason="PostgreSQL does not answer")
        return Condition("database", holds=True, reason="PostgreSQL answers")

    def _tell(self) -> None:
        now = self.health()
        self._metrics.serving.set(now.is_ready)
        self._metrics.cache_up.set(self._cache.is_usable)
        if now.reason == self._said:
            return
        self._said = now.reason
        if now.is_ready:
            log.info("viewer.serving")
        else:
            log.warning("viewer.not_serving", reason=now.reason, error=self._error)
