"""Health and metrics over HTTP, in the server's own event loop."""

from __future__ import annotations

import errno
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from snapshot_server.serving.server import nobody_can_listen
from snapshot_server.settings import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from snapshot_server.serving.health import Condition, Health
    from snapshot_server.serving.metrics import Metrics

log = structlog.get_logger(__name__)

_CLOSE_TIMEOUT_S = 0.3
_OK, _UNAVAILABLE = 200, 503
_LOGGER = "snapshot_server.http"


@asynccontextmanager
async def serving(
    wanted: Address | None, metrics: Metrics, health: Callable[[], Health]
) -> AsyncIterator[Address | None]:
    """Answer /livez, /readyz and /metrics meanwhile; where, or None if it is switched off.

    Raises BadSetting where nobody can listen.
    """
    if wanted is None:
        yield None
        return
    runner = web.AppRunner(
        _application(metrics, health),
        access_log=None,  # a probe every few seconds is no news
        logger=_logger(),
        shutdown_timeout=_CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    try:
        address = await _listen(runner, wanted)
        log.info("http.started", address=str(address))
        yield address
    finally:
        await runner.cleanup()


def _application(metrics: Metrics, health: Callable[[], Health]) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        now = health()
        return _answer("live", now.live, fine=now.is_live)

    async def readyz(_: web.Request) -> web.Response:
        now = health()
        return _answer("ready", now.ready, fine=now.is_ready)

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = metrics.rendered(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=body, headers={"Content-Type": content_type})

    application = web.Application()
    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", scrape)
    return application


def _answer(name: str, conditions: Sequence[Condition], *, fine: bool) -> web.Response:
    said: dict[str, Any] = {
        name: fine,
        "conditions": [
            {"name": condition.name, "holds": condition.holds, "reason": condition.reason}
            for condition in conditions
        ],
    }
    return web.json_response(said, status=_OK if fine else _UNAVAILABLE)


async def _listen(runner: web.AppRunner, wanted: Address) -> Address:
    try:
        return await _listen_at(runner, wanted.host, wanted.port)
    except OSError as exc:
        if wanted.chosen or exc.errno != errno.EADDRINUSE:
            name = "SNAPSHOT_HTTP_ADDRESS"
            raise nobody_can_listen(name, wanted, exc, else_=", or off") from exc
    # Another server on this host, as a rule.
    return await _listen_at(runner, wanted.host, 0)


async def _listen_at(runner: web.AppRunner, host: str, port: int) -> Address:
    site = web.TCPSite(runner, host, port)
    await site.start()
    return Address(host, site.port)


def _logger() -> logging.Logger:
    """What aiohttp has to say, said in our own log."""
    logger = logging.getLogger(_LOGGER)
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
