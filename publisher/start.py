"""Whether Redis is fit, asked before anything is published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from outbox.errors import StreamRefused, StreamUnavailable
from publisher.observing import StateLog
from publisher.pacing import pause_after_failure
from publisher.store.findings import Severity
from publisher.store.server_check import check_server, insist
from publisher.worker import PassReport, pause

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from publisher.pacing import Pacing

log = structlog.get_logger(__name__)


async def until_fit(
    redis: Redis,
    keys: Sequence[str],
    pacing: Pacing,
    stop: asyncio.Event,
    *,
    dice: Callable[[], float],
) -> None:
    """Ask the server what it can do, as soon as it answers. Raises ServerUnfit."""
    state, failures = StateLog("start"), 0
    while not stop.is_set():
        try:
            findings = await check_server(redis, keys)
        except (StreamUnavailable, StreamRefused) as exc:
            failures += 1
            state.observe(PassReport(0, failures, exc))
            await pause(stop, pause_after_failure(failures, pacing, dice=dice()))
            continue
        for finding in findings:
            if finding.severity is Severity.WARNING:
                log.warning("server.finding", name=finding.name, means=finding.sentence)
        insist(findings)
        state.observe(PassReport(0, 0))
        return
