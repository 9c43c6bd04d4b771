"""Where messages of the Redis protocol end, and what a request says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = b"\r\n"
_ENTRY = re.compile(rb"\*[24]\r\n\$\d+\r\n\d+-\d+\r\n\*")
"""How an entry of a stream begins: an array of its ID and its fields."""
_BLOBS = b"$=!"
_PARTS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
"""How many values each item of an array, a set, a push, a map or an attribute has."""


class Frames:
    """Cuts what arrives into whole messages, of RESP 2 and 3; no byte is looked at twice."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0
        self._open: list[int] = []
        """How many values are still to come, of each array that has begun."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that *data* completes."""
        self._data += data
        while self._pass_value():
            if not self._open:
                frame = bytes(self._data[: self._at])
                del self._data[: self._at]
                self._at = 0
                yield frame

    def _pass_value(self) -> bool:
        """Go on behind one value, or behind the head of an array; False while it is incomplete."""
        end = self._data.find(_END, self._at)
        if end < 0:
            return False
        kind, number = bytes(self._data[self._at : self._at + 1]), self._data[self._at + 1 : end]
        after = end + len(_END)
        if kind in _BLOBS and int(number) >= 0:
            after += int(number) + len(_END)
            if len(self._data) < after:
                return False
        self._at = after
        parts = max(int(number), 0) * _PARTS[kind] if kind in _PARTS else 0
        # An attribute stands before the value that it is about.
        self._begin(parts + 1 if kind == b"|" else parts)
        return True

    def _begin(self, parts: int) -> None:
        if parts:
            self._open.append(parts)
            return
        while self._open:
            self._open[-1] -= 1
            if self._open[-1]:
                break
            self._open.pop()


def words(request: bytes) -> list[bytes]:
    """The command and its arguments."""
    if not request.startswith(b"*"):
        return request.split()
    found, at = [], request.index(_END) + len(_END)
    while at < len(request):
        end = request.index(_END, at)
        start = end + len(_END)
        found.append(request[start : start + int(request[at + 1 : end])])
        at = start + len(found[-1]) + len(_END)
    return found


def first_entries(reply: bytes, count: int) -> bytes:
    """*reply* with no more than *count* of its entries, wherever in it they stand."""
    first = _ENTRY.search(reply)
    if first is None:
        return reply
    head = reply.rindex(b"*", 0, first.start())
    ends = [first.start()]
    for _ in range(int(reply[head + 1 : ends[0] - len(_END)])):
        ends.append(_value_end(reply, ends[-1]))
    kept = min(count, len(ends) - 1)
    return reply[:head] + b"*%d\r\n" % kept + reply[ends[0] : ends[kept]] + reply[ends[-1] :]


def _value_end(data: bytes, at: int) -> int:
    return at + len(next(Frames().feed(data[at:])))
