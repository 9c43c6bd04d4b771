"""Whether a manifest may be handed on: HTTPS, and below CDN_BASE_URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

# Not urllib's parser: it takes what a browser reads otherwise, such as a backslash or a line end.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)(?P<rest>[?#].*)?",
    re.ASCII,
)
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\\]|/(?:\.|%2e){2}(?:[/?#]|$)", re.IGNORECASE)
_HTTPS_PORT = 443
_MAX_PORT = 65_535


class Verdict(StrEnum):
    """What is the matter with a manifest."""

    FINE = "fine"
    MISSING = "missing"
    NOT_HTTPS = "not HTTPS"
    OFF_CDN = "not below CDN_BASE_URL"


@dataclass(frozen=True, slots=True)
class Cdn:
    """Where manifests must be."""

    host: str
    port: int
    path: str
    """Begins and ends with a slash."""

    @classmethod
    def parse(cls, base_url: str) -> Self:
        """Raises ValueError for what is no HTTPS URL, or has more than a path."""
        found = _taken_apart(base_url.rstrip("/") + "/")
        if found is None or found["scheme"].lower() != "https" or found["rest"]:
            raise ValueError(f"{base_url!r} is no HTTPS URL, or has more than a path")
        return cls(found["host"].lower(), _port(found), found["path"])

    def verdict(self, url: str | None) -> Verdict:
        """On a manifest's *url*, which is handed on as it is or not at all."""
        if not url:
            return Verdict.MISSING
        if url[:8].lower() != "https://":
            return Verdict.NOT_HTTPS
        found = _taken_apart(url)
        if found is None or (found["host"].lower(), _port(found)) != (self.host, self.port):
            return Verdict.OFF_CDN
        return Verdict.FINE if found["path"].startswith(self.path) else Verdict.OFF_CDN

    def __str__(self) -> str:
        """As a URL."""
        port = "" if self.port == _HTTPS_PORT else f":{self.port}"
        return f"https://{self.host}{port}{self.path}"


def _taken_apart(url: str) -> re.Match[str] | None:
    found = None if _NEVER.search(url) else _URL.fullmatch(url)
    return found if found and 0 < _port(found) <= _MAX_PORT else None


def _port(found: re.Match[str]) -> int:
    return int(found["port"] or _HTTPS_PORT)
