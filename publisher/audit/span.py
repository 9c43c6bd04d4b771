"""From where to where: positions as people give them."""

from __future__ import annotations

import re

from outbox.errors import BadPosition
from outbox.position import ORIGIN, Position

_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LAST_SEQ = 2**20 - 1


def parse(text: str, *, now_ms: int) -> Position:
    """A position, or how long ago: ``1795347471648-0``, ``90s``, ``30m``, ``2h``, ``7d``.

    Raises BadPosition.
    """
    if ago := _DURATION.fullmatch(text):
        return Position(max(now_ms - int(ago[1]) * _MS[ago[2]], 0), 0)
    try:
        return Position.parse(text)
    except BadPosition:
        raise BadPosition(
            f"{text!r} is neither a position such as 1795347471648-0 nor a time such as 30m, 2h, 7d"
        ) from None


def just_before(position: Position) -> Position:
    """The last position at which an event before *position* can stand; ORIGIN has none."""
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(position.ms - 1, _LAST_SEQ) if position.ms else ORIGIN
