"""The end of a server, in the order in which its clients lose least."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapshot_server.serving.calls import Calls
    from snapshot_server.serving.server import GrpcServer

log = structlog.get_logger(__name__)

_LINGER_S = 2.0
"""For clients to receive what was sent, at least; as long as there is time, at most."""

_COURTESY_S = 0.25
"""Between the last answer and the word to go."""


class Drainable(Protocol):
    """A service that can be asked to end its calls."""

    def drain(self) -> None:
        """Refuse new syncs from now on, and end those under way at their next chunk."""

    async def drained(self) -> None:
        """Return when no call is under way."""


async def drain(
    server: GrpcServer,
    service: Drainable,
    calls: Calls,
    *,
    not_serving: Callable[[], None],
    within_s: float,
) -> None:
    """End *server*: *within_s* for the calls under way, and two or three seconds for the rest."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    not_serving()
    had_calls = calls.under_way
    log.info("drain.started", calls=had_calls, connections=len(server.connections))
    service.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s / 2):
            await service.drained()
    # Clients that take no notice of health and call without a pause would keep it up for ever.
    calls.refuse()
    in_time = False
    with suppress(TimeoutError):
        async with asyncio.timeout(began + within_s - loop.time()):
            await service.drained()
            # A call has ended for the service before its trailers are on their way.
            await calls.answered()
            in_time = True
    if had_calls:
        # Clients on grpclib throw away what they have not read when they are told to go.
        await asyncio.sleep(_COURTESY_S)
    broken_off = calls.under_way
    left_s = began + within_s - loop.time()
    await server.end(within_s=max(left_s, _LINGER_S))
    took_s = round(loop.time() - began, 2)
    if in_time:
        log.info("drain.ended", took_s=took_s)
    else:
        log.warning("drain.cut_short", broken_off=broken_off, took_s=took_s)
