"""HTTP in a program's own event loop: health, metrics, and whatever else it serves.

Importing this takes a third of a second: only what serves does, no command.
"""

from __future__ import annotations

import errno
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from process.address import Address, nobody_can_listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from process.health import Condition, Health

log = structlog.get_logger(__name__)

# aiohttp waits this long for answers under way, and then once more for their handlers.
_CLOSE_TIMEOUT_S = 0.3
_OK, _UNAVAILABLE = 200, 503


@asynccontextmanager
async def serving(
    application: web.Application,
    wanted: Address | None,
    *,
    variable: str,
    can_be_off: bool = True,
    close_timeout_s: float = _CLOSE_TIMEOUT_S,
) -> AsyncIterator[Address | None]:
    """Serve meanwhile; where, or None if it is switched off.

    Raises BadSetting, which names *variable*, where nobody can listen.
    """
    if wanted is None:
        yield None
        return
    runner = web.AppRunner(
        application,
        access_log=None,  # a probe every few seconds is no news
        logger=_logger(),
        shutdown_timeout=close_timeout_s,
    )
    await runner.setup()
    try:
        address = await _listen(runner, wanted, variable, ", or off" if can_be_off else "")
        log.info("http.started", address=str(address))
        yield address
    finally:
        await runner.cleanup()


def serving_probes(
    wanted: Address | None,
    health: Callable[[], Health],
    rendered: Callable[[str], tuple[bytes, str]],
    *,
    variable: str,
) -> AbstractAsyncContextManager[Address | None]:
    """Serve nothing else than what `add_probes` adds."""
    application = web.Application()
    add_probes(application, health, rendered)
    return serving(application, wanted, variable=variable)


def add_probes(
    application: web.Application,
    health: Callable[[], Health],
    rendered: Callable[[str], tuple[bytes, str]],
) -> None:
    """Answer /livez, /readyz and /metrics, too.

    *rendered* gives the metrics in the format that an Accept header asks for, and its content type.
    """

    async def livez(_: web.Request) -> web.Response:
        now = health()
        return _answer({"live": now.is_live}, now.live, fine=now.is_live)

    async def readyz(_: web.Request) -> web.Response:
        now = health()
        return _answer({"ready": now.is_ready, **now.also}, now.ready, fine=now.is_ready)

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = rendered(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=body, headers={"Content-Type": content_type})

    application.router.add_get("/livez", livez)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", scrape)


def _answer(said: dict[str, Any], conditions: Sequence[Condition], *, fine: bool) -> web.Response:
    found = [
        {"name": condition.name, "holds": condition.holds, "reason": condition.reason}
        for condition in conditions
    ]
    return web.json_response(said | {"conditions": found}, status=_OK if fine else _UNAVAILABLE)


async def _listen(runner: web.AppRunner, wanted: Address, variable: str, else_: str) -> Address:
    try:
        return await _listen_at(runner, wanted, wanted.port)
    except OSError as exc:
        if wanted.chosen or exc.errno != errno.EADDRINUSE:
            raise nobody_can_listen(variable, wanted, exc, else_=else_) from exc
    # Another program of its kind on this host, as a rule.
    return await _listen_at(runner, wanted, 0)


async def _listen_at(runner: web.AppRunner, wanted: Address, port: int) -> Address:
    site = web.TCPSite(runner, wanted.host, port)
    await site.start()
    return Address(wanted.host, site.port, wanted.chosen)


def _logger() -> logging.Logger:
    """What aiohttp has to say, said in our own log."""
    logger = logging.getLogger("process.http")
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
