"""Health and metrics over HTTP, in the publisher's own event loop.

Importing this takes a third of a second: only the publisher itself does, no command.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from outbox.errors import BadSetting
from publisher.settings import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from publisher.settings import Settings
    from publisher.web.health import Condition, Health
    from publisher.web.metrics import Metrics

log = structlog.get_logger(__name__)

# aiohttp waits this long for answers under way, and then once more for their handlers.
_CLOSE_TIMEOUT_S = 0.3
_OK, _UNAVAILABLE = 200, 503


@asynccontextmanager
async def serving(
    settings: Settings, metrics: Metrics, health: Callable[[], Health]
) -> AsyncIterator[Address | None]:
    """Answer /livez, /readyz and /metrics meanwhile; where, or None if it is switched off.

    Raises BadSetting where nobody can listen.
    """
    if settings.http_address is None:
        yield None
        return
    runner = web.AppRunner(
        _application(metrics, health),
        # A probe every few seconds is no news.
        access_log=None,
        logger=_logger(),
        shutdown_timeout=_CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    try:
        address = await _listen(runner, settings.http_address)
        log.info("http.started", address=str(address))
        yield address
    finally:
        await runner.cleanup()


def _application(metrics: Metrics, health: Callable[[], Health]) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        now = health()
        return _answer(now.is_live, {"live": now.is_live} | _conditions(now.live))

    async def readyz(_: web.Request) -> web.Response:
        now = health()
        said = {"ready": now.is_ready, "paused": now.paused, "backPressure": now.back_pressure}
        return _answer(now.is_ready, said | _conditions(now.ready))

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = metrics.rendered(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=body, headers={"Content-Type": content_type})

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", scrape)
    return application


def _conditions(conditions: Sequence[Condition]) -> dict[str, Any]:
    return {
        "conditions": [
            {"name": condition.name, "holds": condition.holds, "reason": condition.reason}
            for condition in conditions
        ]
    }


def _answer(fine: bool, said: dict[str, Any]) -> web.Response:  # noqa: FBT001 - it picks the status
    return web.json_response(said, status=_OK if fine else _UNAVAILABLE)


async def _listen(runner: web.AppRunner, wanted: Address) -> Address:
    try:
        return await _listen_at(runner, wanted.host, wanted.port, chosen=wanted.chosen)
    except OSError as exc:
        if wanted.chosen or exc.errno != errno.EADDRINUSE:
            raise BadSetting(
                f"PUBLISHER_HTTP_ADDRESS is {wanted}, and nobody can listen there: {_cause(exc)};"
                " choose another, or off"
            ) from exc
    # Another publisher on this host, as a rule.
    return await _listen_at(runner, wanted.host, 0, chosen=False)


def _cause(exc: OSError) -> str:
    # asyncio wraps the cause in words of its own; a name that is not found has a negative number.
    known = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
    return (known or str(exc)).lower()


async def _listen_at(runner: web.AppRunner, host: str, port: int, *, chosen: bool) -> Address:
    site = web.TCPSite(runner, host, port)
    await site.start()
    return Address(host, site.port, chosen)


def _logger() -> logging.Logger:
    """What aiohttp has to say, said in our own log."""
    logger = logging.getLogger("publisher.web.http")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers = [_ToOurLog()]
    return logger


class _ToOurLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            # Somebody who does not speak HTTP.
            log.debug("http.garbage", error=error.message)
        else:
            log.error("http.failed", error=repr(error or record.getMessage()))
