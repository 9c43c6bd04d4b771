"""HTTP: who may ask, and what a page or a problem looks like on the wire."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import hdrs, web

from outbox.errors import CatalogStreamError, OutboxUnavailable
from viewer import problems
from viewer.documents import Unplayable
from viewer.keys import Kind, PageName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from process.tokens import Tokens
    from viewer.metrics import Metrics
    from viewer.pages import Pages
    from viewer.problems import Problem

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

_TOKEN_HEADER = "x-service-token"  # noqa: S105 - its name
_CACHE_HEADER = "X-Cache"
_JSON = "application/json; charset=utf-8"
# Which versions this runs on is nobody's business.
_SERVER = {hdrs.SERVER: "catalog-viewer"}
_NO_STORE = {hdrs.CACHE_CONTROL: "no-store"}


def application(pages: Pages, tokens: Tokens | None, metrics: Metrics) -> web.Application:
    """The service. *tokens* None: everybody may ask."""

    def counted(kind: Kind, response: web.Response, began: float) -> None:
        metrics.answered(
            kind,
            HTTPStatus(response.status),
            cache=response.headers.get(_CACHE_HEADER, "none"),
            took_s=time.perf_counter() - began,
        )

    def answering(kind: Kind) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            began = time.perf_counter()
            try:
                response = await _answer(request, kind, pages, tokens)
            except Exception:
                # It becomes a problem further out, where nobody knows of which kind it was.
                counted(kind, _refusal(problems.INTERNAL), began)
                raise
            counted(kind, response, began)
            return response

        return answer

    made = web.Application(middlewares=[_as_problems])
    # Any text, so that what is no identifier gets a problem document too.
    made.router.add_get("/v1/catalog/episodes/{identifier}", answering(Kind.EPISODE))
    made.router.add_get("/v1/catalog/series/{identifier}", answering(Kind.SERIES))
    return made


async def _answer(
    request: web.Request, kind: Kind, pages: Pages, tokens: Tokens | None
) -> web.Response:
    if tokens and not _is_admitted(request, tokens):
        return _refusal(problems.UNAUTHORIZED, {hdrs.WWW_AUTHENTICATE: "Bearer"})
    name = PageName.parse(kind, request.match_info["identifier"])
    if name is None:
        return _refusal(problems.not_found(kind))
    try:
        page, from_cache = await pages.find(name)
    except CatalogStreamError as exc:
        if not isinstance(exc, OutboxUnavailable):
            # What is said of a server that is away is said once, by the watch.
            log.error("page.failed", page=name.key, error=str(exc))  # noqa: TRY400 - it says it all
        return _refusal(problems.UNAVAILABLE, {hdrs.RETRY_AFTER: "1"})
    seen = {_CACHE_HEADER: "hit" if from_cache else "miss"}
    if page is None:
        return _refusal(problems.not_found(kind), seen)
    if isinstance(page, Unplayable):
        return _refusal(problems.unplayable(page), seen)
    return web.Response(body=page, headers=_SERVER | seen | {hdrs.CONTENT_TYPE: _JSON})


def _is_admitted(request: web.Request, tokens: Tokens) -> bool:
    """By either header: a gateway may hand on its user's authorization beside its own token."""
    names = (hdrs.AUTHORIZATION, _TOKEN_HEADER)
    return any(tokens.admit(request.headers.getall(name, [])) for name in names)


@web.middleware
async def _as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp and our own mistakes say, said as everything else."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as exc:
        return _refusal(problems.WRONG_METHOD, {hdrs.ALLOW: ", ".join(sorted(exc.allowed_methods))})
    except web.HTTPNotFound:
        return _refusal(problems.NO_SUCH_PATH)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("request.failed", path=request.path[:200])
        return _refusal(problems.INTERNAL)


def _refusal(problem: Problem, more: dict[str, str] | None = None) -> web.Response:
    headers = _SERVER | {hdrs.CONTENT_TYPE: problems.CONTENT_TYPE} | _NO_STORE | (more or {})
    return web.Response(body=problem.body, status=problem.status, headers=headers)
