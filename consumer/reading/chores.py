"""What is done each second beside reading: the lag, the checkpoint, members that are gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.errors import GroupMissing, RedisRefused
from consumer.reports import Away, Lag, MembersRemoved
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from consumer.keeping.checkpoint import Checkpoint
    from consumer.reading.group import StreamGroup
    from consumer.reading.hand import Hand
    from consumer.reading.reader import Reader
    from consumer.reports import Observe
    from consumer.settings import Options
    from consumer.watching.lag import Lag as Measure
    from outbox.position import Position

_EVERY_S = 1.0
_ANSWER_S = 5.0


class Chores:
    """Of one term."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        group: StreamGroup,
        hand: Hand,
        reader: Reader,
        measure: Measure,
        checkpoint: Checkpoint | None,
        options: Options,
        observe: Observe,
    ) -> None:
        self._group = group
        self._hand = hand
        self._reader = reader
        self._measure = measure
        self._checkpoint = checkpoint
        self._options = options
        self._observe = observe
        self._saved: Position | None = None
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.save_checkpoint()
            try:
                await self._look()
            except (StreamUnavailable, RedisRefused, GroupMissing, TimeoutError):
                # The reader meets the same, and says so.
                continue

    async def save_checkpoint(self) -> None:
        """Where the group has come to, unless it is saved."""
        mark = self._hand.seen.mark
        if self._checkpoint is None or mark is None or mark == self._saved:
            return
        group = self._group.group
        try:
            await self._checkpoint.save(group.name, group.stream, mark)
        except Exception as exc:  # noqa: BLE001 - a store of the caller's, away for any reason
            self._failures += 1
            self._observe(Away(group.stream, "save checkpoint", self._failures, _EVERY_S, exc))
        else:
            self._saved, self._failures = mark, 0

    async def _look(self) -> None:
        stream = self._group.group.stream
        strays, removed = await self._group.forget_members(self._options.lease_s * 2)
        if removed:
            self._observe(MembersRemoved(stream, removed))
        if strays:
            # A read of another member, from before it lost the lease, has come to its end.
            self._reader.resume()
        async with asyncio.timeout(_ANSWER_S):
            behind = await self._measure.measured()
        if behind is not None:
            self._observe(Lag(stream, behind.entries, behind.seconds))
