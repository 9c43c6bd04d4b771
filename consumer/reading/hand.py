"""What is read of one stream and not acknowledged."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from consumer.errors import GroupMissing, RedisRefused
from consumer.reports import Away, Handled
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.event import Event
    from consumer.reading.group import StreamGroup
    from consumer.reading.seen import Seen
    from consumer.reports import Observe

_ENOUGH = 200
"""Events are acknowledged at once when so many have ended, or all that are in hand..."""
_SOON_S = 0.005
"""...and this long after the first of them otherwise."""
_AT_ONCE = 1000


class Hand:
    """Counts the events in hand, and acknowledges them when they are handled."""

    def __init__(
        self,
        group: StreamGroup,
        seen: Seen,
        observe: Observe,
        pause_s: Callable[[int], float],
    ) -> None:
        self.seen = seen
        self.count = 0
        self._group = group
        self._observe = observe
        self.take_busy_s: Callable[[], Sequence[float]] = tuple
        """Seconds in the handler since the last call, of each lane."""
        self._pause_s = pause_s
        self._done: list[bytes] = []
        self._again: list[bytes] = []
        """Not counted: they were handled before."""
        self._sending: list[bytes] = []
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._since = time.monotonic()
        self._unreported = 0

    def take(self, events: Sequence[Event]) -> None:
        """They are in hand, in the order of the stream."""
        if not self.count:
            self._since = time.monotonic()
        self.count += len(events)
        self.seen.began([event.raw_id for event in events])

    def finish(self, raw_id: bytes) -> None:
        """Its effect is there, or it is set aside."""
        done = self._done
        done.append(raw_id)
        if len(done) in (_ENOUGH, self.count):
            self._due.set()
        elif len(done) == 1:
            self._soon()

    def acknowledge_again(self, raw_ids: Sequence[bytes]) -> None:
        """They came though there is nothing left to do for them."""
        if raw_ids:
            self._again.extend(raw_ids)
            self._due.set()

    def ids(self) -> set[bytes]:
        """Whatever is in hand, handled or not."""
        return self.seen.open().union(self._done, self._sending, self._again)

    async def at_most(self, count: int) -> None:
        """Wait until no more events than that are in hand."""
        while self.count > count:
            self._changed.clear()
            await self._changed.wait()

    async def acknowledge_on(self) -> None:
        """Acknowledge what has ended, until cancelled."""
        failures = 0
        while True:
            await self._due.wait()
            try:
                await self.flush()
            except (StreamUnavailable, RedisRefused) as exc:
                failures += 1
                pause_s = self._pause_s(failures)
                self._observe(Away(self._group.group.stream, "acknowledge", failures, pause_s, exc))
                await asyncio.sleep(pause_s)
            else:
                failures = 0

    async def flush(self) -> None:
        """Acknowledge all that has ended by now. Raises what a Link raises."""
        while self._done or self._again or self._sending:
            self._due.clear()
            self._close_timer()
            done, self._done = self._done, []
            again, self._again = self._again, []
            self.seen.handled(done)
            self._sending += done + again
            self._unreported += len(done)
            try:
                for start in range(0, len(self._sending), _AT_ONCE):
                    await self._group.acknowledge(self._sending[start : start + _AT_ONCE])
            except GroupMissing:
                # Nothing is pending in a group that is not there.
                pass
            except BaseException:
                self._due.set()
                raise
            finally:
                self.count -= len(done)
                self._changed.set()
            self._sending.clear()
            self._report()

    def close(self) -> None:
        """What has ended is handled, though it may come again."""
        self._close_timer()
        self.seen.handled(self._done)

    def _report(self) -> None:
        if self._unreported:
            stream, now = self._group.group.stream, time.monotonic()
            took_s, self._since = now - self._since, now
            events, self._unreported = self._unreported, 0
            self._observe(Handled(stream, events, took_s, self.take_busy_s()))

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON_S, self._due.set)

    def _close_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
