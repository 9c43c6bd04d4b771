"""Where messages begin and end: those of Redis, and those of PostgreSQL."""

from enum import Enum
from typing import Protocol


class Side(Enum):
    """Where a message comes from."""

    CLIENT = "client"
    SERVER = "server"


class Talk(Protocol):
    """What has been said on one connection."""

    def length(self, side: Side, data: bytes) -> int:
        """How many bytes are the first message of *data*; 0 while that is not complete."""

    def name(self, side: Side, data: bytes) -> str:
        """What a test calls the message *data*."""

    def asked(self, name: str) -> None:
        """The request *name* was sent on, so that an answer to it will come."""


class RedisTalk:
    """A request is called by its command, in capitals; so is the answer to it."""

    def __init__(self) -> None:
        self._asked: list[str] = []

    def length(self, side: Side, data: bytes) -> int:  # noqa: ARG002 - the same on both
        return _value_end(data, 0)

    def name(self, side: Side, data: bytes) -> str:
        if side is Side.SERVER:
            return self._asked.pop(0) if self._asked else ""
        return data.split(b"\r\n", 3)[2].decode().upper()

    def asked(self, name: str) -> None:
        self._asked.append(name)


class PostgresTalk:
    """A message is called by the letter of its type; those without one: startup and tls."""

    _NO_TYPE = b"\x00"  # but the first of four bytes of length
    _TLS_REQUEST = (80877103).to_bytes(4, "big")

    def __init__(self) -> None:
        self._tls_asked = False

    def length(self, side: Side, data: bytes) -> int:
        if side is Side.SERVER and self._tls_asked:
            return len(data[:1])
        start = 0 if data[:1] == self._NO_TYPE else 1
        if len(data) < start + 4:
            return 0
        end = start + int.from_bytes(data[start : start + 4], "big")
        return end if len(data) >= end else 0

    def name(self, side: Side, data: bytes) -> str:
        if side is Side.SERVER and self._tls_asked:
            self._tls_asked = False
            return "tls"
        if data[4:8] == self._TLS_REQUEST and data[:1] == self._NO_TYPE:
            return "tls"
        return "startup" if data[:1] == self._NO_TYPE else data[:1].decode()

    def asked(self, name: str) -> None:
        self._tls_asked = self._tls_asked or name == "tls"


def _value_end(data: bytes, start: int) -> int:
    """Where the value that begins at *start* ends; 0 if *data* ends before it."""
    end = data.find(b"\r\n", start) + 2
    if end == 1:
        return 0
    kind, number = data[start : start + 1], data[start + 1 : end - 2]
    if kind in b"$=!" and int(number) >= 0:
        end += int(number) + 2
        return end if len(data) >= end else 0
    parts = max(int(number), 0) if kind in b"*~>%" else 0
    for _ in range(parts * 2 if kind == b"%" else parts):
        end = _value_end(data, end)
        if not end:
            return 0
    return end
