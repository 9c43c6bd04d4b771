"""Reading one stream for a group: first what was left, then what comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumer.errors import GroupMissing, RedisRefused
from consumer.event import Gap
from consumer.letters.dead_letters import Reason
from consumer.reading.gaps import before, gap_in
from consumer.reports import (
    Away,
    Claimed,
    Duplicates,
    Lost,
    MembersRemoved,
    Took,
)
from outbox.errors import StreamUnavailable
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.event import Event
    from consumer.handling.work import Work
    from consumer.letters.setting_aside import SettingAside
    from consumer.reading.footing import Footing
    from consumer.reading.gaps import View
    from consumer.reading.group import StreamGroup
    from consumer.reading.hand import Hand
    from consumer.reports import Observe
    from consumer.settings import Options

_TRUSTED = 2
"""An entry that was handed out more often may be what its readers died of."""


class Reader:
    """Reads for *work*, as long as it is let."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        group: StreamGroup,
        hand: Hand,
        work: Work,
        aside: SettingAside | None,
        footing: Footing,
        options: Options,
        observe: Observe,
        pause_s: Callable[[int], float],
    ) -> None:
        self._group = group
        self._hand = hand
        self._work = work
        self._aside = aside
        self._footing = footing
        self._options = options
        self._observe = observe
        self._pause_s = pause_s
        self._stream = group.group.stream
        self._took = False
        self._highest: Position | None = None
        """The last entry that came, of those that come once."""
        self._must_resume = True
        self._complete_to = ORIGIN
        """Up to here, what is missing was made up for, or given up."""
        self._caught_up = False
        """What was left when the term began has been taken."""

    def resume(self) -> None:
        """Look for what was left once more."""
        self._must_resume = True

    async def read_on(self) -> None:
        """Until cancelled. Raises FellOff, LeaseLost, and what the caller's functions raise."""
        failures = 0
        while True:
            try:
                if self._must_resume:
                    await self._resume()
                await self._read()
            except GroupMissing:
                self._must_resume = True
            except (StreamUnavailable, RedisRefused) as exc:
                failures += 1
                pause_s = self._pause_s(failures)
                self._must_resume = True
                self._observe(Away(self._stream, "read", failures, pause_s, exc))
                await asyncio.sleep(pause_s)
            else:
                failures = 0

    async def _read(self) -> None:
        count = min(self._options.batch, self._options.in_hand)
        await self._hand.at_most(self._options.in_hand - count)
        events = await self._group.read(count)
        if events is None:
            self._must_resume = True
        elif events:
            self._give(events)
        else:
            await self._group.wait(min(self._options.block_s, self._options.lease_s / 3))

    def _give(self, events: list[Event]) -> None:
        first, last = events[0].position, events[-1].position
        if self._highest is not None and first <= self._highest:
            # Redis lost something: what comes now may have come before.
            events = self._fresh(events, self._hand.ids())
        self._highest = last if self._highest is None else max(self._highest, last)
        self._take(events)

    def _fresh(
        self, events: Sequence[Event], in_hand: set[bytes], *, by_mark: bool = True
    ) -> list[Event]:
        """Those of *events* that are neither in hand nor handled."""
        fresh: list[Event] = []
        again: list[bytes] = []
        for event in events:
            if event.raw_id in in_hand:
                continue
            if not self._footing.effects_in_redis and self._hand.seen.knows(
                event.raw_id, by_mark=by_mark
            ):
                again.append(event.raw_id)
            else:
                fresh.append(event)
        if again:
            self._hand.acknowledge_again(again)
            self._observe(Duplicates(self._stream, len(again)))
        return fresh

    async def _resume(self) -> None:
        """Find the group, mend what is missing, and take what was left, oldest first."""
        view = await self._footing.found()
        if not self._took:
            self._took = True
            self._observe(Took(self._stream, self._group.member, view.pending))
        if gap := gap_in(view):
            await self._mend(gap, view)
            # What was handed out behind a noted gap may be gone by now, too.
            again = await self._footing.found() if view.noted else view
            if again is not view and (gap := gap_in(again)):
                await self._mend(gap, again)
        elif view.noted:
            await self._group.gap_is_over()
        strays, removed = await self._group.forget_members(self._options.lease_s * 2)
        if removed:
            self._observe(MembersRemoved(self._stream, removed))
        if strays:
            await self._hand.at_most(0)
            gone = await self._group.claim()
            self._observe(Claimed(self._stream, strays))
            await self._miss(gone)
        # What somebody else was given while we read has never come by here.
        await self._take_pending(by_mark=not (strays and self._caught_up))
        self._caught_up, self._must_resume = True, False

    async def _miss(self, lost: Sequence[bytes]) -> None:
        """Count entries that are gone, and make up for those that went since we looked."""
        if not lost:
            return
        self._observe(Lost(self._stream, len(lost)))
        places = [Position.parse(raw_id.decode()) for raw_id in lost]
        if max(places) > self._complete_to:
            view = await self._footing.found()
            await self._mend(Gap(self._stream, before(min(places)), view.first), view)

    async def _mend(self, gap: Gap, view: View) -> None:
        await self._hand.at_most(0)
        self._complete_to = max(self._complete_to, await self._footing.mend(gap, view))

    async def _take_pending(self, *, by_mark: bool) -> None:
        after: bytes | None = b"0-0"
        while after is not None:
            count = min(self._options.batch, self._options.in_hand)
            await self._hand.at_most(self._options.in_hand - count)
            # What is acknowledged meanwhile is in one of the two.
            in_hand = self._hand.ids()
            page = await self._group.pending(after, count)
            await self._miss(page.lost)
            self._hand.acknowledge_again(page.lost)
            events = self._fresh(page.events, in_hand | self._hand.ids(), by_mark=by_mark)
            if page.events:
                last = page.events[-1].position
                self._highest = last if self._highest is None else max(self._highest, last)
            await self._give_with_care(events)
            after = page.after

    async def _give_with_care(self, events: list[Event]) -> None:
        """One by one, those that others may have died of; the rest together."""
        aside = self._aside
        trusted: list[Event] = []
        for event in events:
            if aside is None or event.deliveries <= _TRUSTED:
                trusted.append(event)
                continue
            self._take(trusted)
            trusted = []
            await self._hand.at_most(0)
            await self._begin_alone(event, aside)
        self._take(trusted)

    def _take(self, events: list[Event]) -> None:
        if events:
            self._hand.take(events)
            self._work.give(events)

    async def _begin_alone(self, event: Event, aside: SettingAside) -> None:
        noted, times = await self._group.begun()
        times = times if noted == event.raw_id else 0
        if times >= self._options.attempts:
            await aside.set_aside(event, Reason.DIED, times, None)
            self._hand.take([event])
            self._hand.finish(event.raw_id)
        else:
            await self._group.note_begun(event.raw_id, times + 1)
            self._take([event])
        await self._hand.at_most(0)
