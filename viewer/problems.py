"""What is sent instead of a page: problem documents (RFC 9457), each with a code of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, assert_never

from viewer.manifest import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viewer.documents import Broken, Unplayable
    from viewer.keys import Kind

CONTENT_TYPE = "application/problem+json"


class Code(StrEnum):
    """What programs go by."""

    UNAUTHORIZED = "UNAUTHORIZED"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    BAD_REQUEST = "BAD_REQUEST"
    MANIFEST_MISSING = "MANIFEST_MISSING"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    CATALOG_UNAVAILABLE = "CATALOG_UNAVAILABLE"
    INTERNAL = "INTERNAL"


class Issue(StrEnum):
    """What is wrong with the data, as metrics say it."""

    MISSING_MANIFEST = "missing_manifest"
    INVALID_MANIFEST = "invalid_manifest"


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer."""

    status: HTTPStatus
    code: Code
    title: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """As it is sent."""
        said = {"type": "about:blank", "title": self.title, "status": self.status.value}
        return json.dumps(said | {"code": self.code} | dict(self.more)).encode()


UNAUTHORIZED = Problem(HTTPStatus.UNAUTHORIZED, Code.UNAUTHORIZED, "A service token is needed.")
UNAVAILABLE = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE, Code.CATALOG_UNAVAILABLE, "The catalog cannot be read now."
)
INTERNAL = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR, Code.INTERNAL, "Something is wrong with this service."
)
NO_SUCH_PATH = Problem(HTTPStatus.NOT_FOUND, Code.NOT_FOUND, "There is nothing at this path.")
WRONG_METHOD = Problem(
    HTTPStatus.METHOD_NOT_ALLOWED, Code.METHOD_NOT_ALLOWED, "This can only be read: GET or HEAD."
)


def not_found(kind: Kind) -> Problem:
    """The same whether it is absent, deleted or not published: nobody need know which."""
    name = "episode" if kind == "episode" else "series"
    return Problem(HTTPStatus.NOT_FOUND, Code.NOT_FOUND, f"There is no such {name}.")


def unplayable(page: Unplayable) -> Problem:
    """What the gateway's rollback goes by; the first of several decides on the code."""
    first = page.episodes[0]
    code = _code(first.verdict)
    more: dict[str, Any] = {
        "detail": f"The manifest of episode {first.episode_id} is {first.verdict}.",
        "episodeId": first.episode_id,
        "episodes": [
            {"id": one.episode_id, "code": _code(one.verdict), "reason": one.verdict}
            for one in page.episodes
        ],
    }
    title = "An episode has no manifest." if code is Code.MANIFEST_MISSING else _NOT_USABLE
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, code, title, more)


def issue_of(broken: Broken) -> Issue:
    """What the data-quality metric counts."""
    if _code(broken.verdict) is Code.MANIFEST_MISSING:
        return Issue.MISSING_MANIFEST
    return Issue.INVALID_MANIFEST


_NOT_USABLE = "The manifest of an episode cannot be used."


def _code(verdict: Verdict) -> Code:
    match verdict:
        case Verdict.MISSING:
            return Code.MANIFEST_MISSING
        case Verdict.NOT_HTTPS | Verdict.OFF_CDN:
            return Code.MANIFEST_INVALID
        case Verdict.FINE:
            raise ValueError(verdict)
        case _:
            assert_never(verdict)
