"""A cursor: where a client stopped."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from typing import Self

from outbox.errors import BadPosition
from outbox.position import Position
from snapshot_server.errors import CursorMalformed

_MAX_TEXT = 200
_SEQ_LIMIT = 1 << 20
_VERSION_LIMIT = 1 << 63
_LAST_ORDINAL = (1 << 31) - 1
_PREFIX = "p1."
_BODY = struct.Struct(">QQQI")
_CHECKSUM = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to item *ordinal* of *version* was read."""

    start: int | None
    """Removals up to this version are none of the client's. None: it has nothing yet."""
    seen: int
    """The newest version that the feed had when the client was last read to. Items that were
    touched up to then were not where they had been, so this must be of our history, too."""
    version: int
    ordinal: int

    @classmethod
    def after(cls, position: Position) -> Self:
        """Where a client stands that holds everything up to *position*."""
        version = position.version
        return cls(version, version, version, _LAST_ORDINAL)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an event ID, or what str() of another cursor gave. Raises CursorMalformed."""
        if len(text) > _MAX_TEXT or not text.isascii():
            raise CursorMalformed
        if text.startswith(_PREFIX):
            return cls._paging(text)
        return cls.after(event_position(text))

    @classmethod
    def _paging(cls, text: str) -> Self:
        encoded = text[len(_PREFIX) :]
        try:
            packed = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except binascii.Error as exc:
            raise CursorMalformed from exc
        body, checksum = packed[: _BODY.size], packed[_BODY.size :]
        if len(body) != _BODY.size or checksum != _checksum(body):
            raise CursorMalformed
        start, seen, version, ordinal = _BODY.unpack(body)
        cursor = cls(start, seen, version, ordinal)
        within = max(start, version) <= seen < _VERSION_LIMIT and ordinal <= _LAST_ORDINAL
        # Base64 has more than one spelling of the same bytes.
        if not within or str(cursor) != text:
            raise CursorMalformed
        return cursor

    def __str__(self) -> str:
        """Opaque to clients, and never an event ID."""
        body = _BODY.pack(self.start or 0, self.seen, self.version, self.ordinal)
        packed = base64.urlsafe_b64encode(body + _checksum(body))
        return _PREFIX + packed.decode("ascii").rstrip("=")

    @property
    def is_full(self) -> bool:
        """Whether the client has not read yet all that was there when it began with nothing."""
        return self.start is None or self.version < self.start

    @property
    def removals_after(self) -> int:
        """The client needs every removal after this version. 0 where it has nothing yet."""
        if self.start is None:
            return 0
        # Of its version itself it may have read only a part.
        read = self.version if self.ordinal == _LAST_ORDINAL else self.version - 1
        return max(self.start, read)

    def moved(self, *, seen: int, version: int, ordinal: int) -> Cursor:
        """The cursor behind a page that was read when the feed had come to *seen*."""
        return Cursor(seen if self.start is None else self.start, seen, version, ordinal)


BEGINNING = Cursor(None, 0, 0, 0)
"""Of a client that has nothing."""


def event_position(text: str) -> Position:
    """Read an event ID that we may have given out. Raises CursorMalformed."""
    try:
        position = Position.parse(text)
    except BadPosition as exc:
        raise CursorMalformed from exc
    if position.seq >= _SEQ_LIMIT or position.version >= _VERSION_LIMIT:
        raise CursorMalformed
    return position


def position_of(version: int) -> Position:
    """The position that *version* is the number of."""
    return Position.in_tick(0, version)


def _checksum(body: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(body))
