"""Up to where a stream is handled, although its events end in any order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable

Raw = bytes
"""An ID as Redis writes it."""


class Seen:
    """The low-water mark of one stream, and what is handled above it."""

    def __init__(self) -> None:
        self._mark: Position | None = None
        self._handled_last: Raw | None = None
        """The newest one up to which all is handled, not yet parsed."""
        self._order: deque[Raw] = deque()
        """What was begun, in the order of the stream, from the first that is not handled."""
        self._done: set[Raw] = set()
        """What is handled, and not yet known to be below the mark."""

    @property
    def mark(self) -> Position | None:
        """Everything up to there is handled; None as long as nothing is known."""
        if self._handled_last is not None:
            reached, self._handled_last = Position.parse(self._handled_last.decode()), None
            self._mark = reached if self._mark is None else max(self._mark, reached)
        return self._mark

    @property
    def oldest_open(self) -> Raw | None:
        """The oldest event that was begun and is not handled."""
        self._advance()
        return self._order[0] if self._order else None

    def open(self) -> set[Raw]:
        """What was begun and is not handled."""
        return set(self._order) - self._done

    def reached(self, position: Position) -> None:
        """All up to *position* is handled, whoever did it."""
        self._mark = position if self.mark is None else max(self._mark or position, position)

    def knows(self, raw_id: Raw, *, by_mark: bool = True) -> bool:
        """Whether the event is handled; *by_mark*: also if that follows from where we have come."""
        if raw_id in self._done:
            return True
        mark = self.mark if by_mark else None
        return mark is not None and Position.parse(raw_id.decode()) <= mark

    def began(self, raw_ids: Iterable[Raw]) -> None:
        """These come next, in the order of the stream."""
        self._order.extend(raw_ids)

    def handled(self, raw_ids: Iterable[Raw]) -> None:
        """These are handled."""
        self._done.update(raw_ids)
        self._advance()

    def begin_anew(self) -> None:
        """What is open comes again, from the beginning of what is pending."""
        self._advance()
        self._order.clear()

    def forget(self) -> None:
        """The effects are gone: all may come again, and be handled again."""
        self._mark = self._handled_last = None
        self._order.clear()
        self._done.clear()

    def _advance(self) -> None:
        order, done = self._order, self._done
        while order and order[0] in done:
            self._handled_last = order.popleft()
            done.discard(self._handled_last)
