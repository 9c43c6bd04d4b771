"""What a consumer group is asked of Redis, by the one member that reads its stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from consumer.errors import GroupMissing, LeaseLost, RedisRefused
from consumer.event import Event
from consumer.keys import begun_key, gap_key, reader_key, term_key
from consumer.reading import lua
from consumer.reading.gaps import View
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Group
    from consumer.reading.lease import Member
    from consumer.reading.link import Link

_MAKE = lua.load("make")
_VIEW = lua.load("view")
_CHECK = lua.load("check")
_FORGET = lua.load("forget")
_CLAIMED_AT_ONCE = 1000
_GRACE_S = 5.0
"""For an answer that Redis holds back, beyond the time it was told to."""


class Pending(NamedTuple):
    """A page of what was handed out and not acknowledged."""

    events: list[Event]
    lost: list[bytes]
    """IDs whose entries the stream no longer holds."""
    after: bytes | None
    """The last ID of the page; None if it was the last page."""


class StreamGroup:
    """*group*, over two links: *reading* may wait, and *asking* answers at once."""

    def __init__(self, reading: Link, asking: Link, group: Group, member: Member) -> None:
        self._reading = reading
        self._asking = asking
        self.group = group
        self._stream = group.stream.encode()
        self._name = group.name.encode()
        self._member = member
        self._last = b"0-0"
        # Whatever is read after these is read only if nobody has taken the lease since.
        self._fence = (("WATCH", term_key(*group)), ("GET", reader_key(*group)))

    @property
    def member(self) -> str:
        """The name of the one that reads."""
        return self._member.name

    async def view(self) -> View:
        """The stream and the group. Raises GroupMissing, and what a Link raises."""
        answer = await self._asking.call(
            "EVAL", _VIEW, 2, self._stream, gap_key(*self.group), self._name
        )
        if not answer:
            raise GroupMissing
        delivered, first, last, pending_from, pending, missed, noted = answer
        return View(
            stream=self.group.stream,
            delivered=_position(delivered),
            first=_position(first) if first else None,
            last=_position(last),
            pending_from=_position(pending_from) if pending_from else None,
            pending=pending,
            missed=int(missed) if missed else None,
            noted=noted.decode(),
        )

    async def make(self, position: Position, *, holds_all: bool) -> None:
        """The group, to go on after *position*; the stream too, if there is none.

        *holds_all*: nothing up to there can be missing, whatever the stream begins with.
        """
        try:
            await self._asking.call(
                *("EVAL", _MAKE, 1, self._stream, self._name, str(position), int(holds_all))
            )
        except RedisRefused as exc:
            if exc.reason != "BUSYGROUP":
                raise

    async def go_on_after(self, position: Position) -> None:
        """Entries up to *position* are handed out no more."""
        await self._asking.call("XGROUP", "SETID", self._stream, self._name, str(position))

    async def read(self, count: int) -> list[Event] | None:
        """What comes next, at most *count* entries; None if something may be missing before it.

        Then they are handed out all the same, and what is missing is noted. Raises LeaseLost,
        GroupMissing and what a Link raises.
        """
        while True:
            if not self._reading.is_open:
                self._see_holder((await self._reading.calls(*self._fence))[-1])
            *_, read, _, holder = await self._reading.calls(
                ("MULTI",),
                ("EVAL", _CHECK, 2, self._stream, gap_key(*self.group), self._name),
                (
                    *("XREADGROUP", "GROUP", self._name, self._member.name, "COUNT", count),
                    *("STREAMS", self._stream, ">"),
                ),
                ("EXEC",),
                *self._fence,
            )
            self._see_holder(holder)
            if read is not None:
                checked, answer = read
                self._last = checked
                return None if checked == b"GAP" else self._events(answer)

    def _see_holder(self, holder: bytes | None) -> None:
        # Nobody's is ours as well: we would know if we had let it end.
        if holder is not None and holder != str(self._member).encode():
            raise LeaseLost

    async def gap_is_over(self) -> None:
        """What was noted is made up for."""
        await self._asking.call("DEL", gap_key(*self.group))

    async def wait(self, block_s: float) -> None:
        """Return when something comes after what was there at the last read, or after *block_s*.

        Not by reading for the group: a read that waits cannot be fenced, nor looked after.
        """
        await self._reading.call(
            # Redis takes 0 for ever.
            *("XREAD", "COUNT", 1, "BLOCK", max(int(block_s * 1000), 1)),
            *("STREAMS", self._stream, self._last),
            within_s=block_s + _GRACE_S,
        )

    async def claim(self) -> list[bytes]:
        """Take over what was handed out to others; the IDs of those entries that are gone.

        Redis 7 and later clear those by themselves; before, they are found among the pending.
        """
        gone: list[bytes] = []
        cursor = b"0-0"
        while True:
            answer = await self._asking.call(
                *("XAUTOCLAIM", self._stream, self._name, self._member.name, 0, cursor),
                *("COUNT", _CLAIMED_AT_ONCE, "JUSTID"),
            )
            cursor, _, *deleted = answer
            for ids in deleted:
                gone += ids
            if cursor == b"0-0":
                return gone

    async def pending(self, after: bytes, count: int) -> Pending:
        """What this member was handed out and has not acknowledged, in order, after *after*."""
        counted, answer = await self._reading.calls(
            ("XPENDING", self._stream, self._name, b"(" + after, "+", count, self._member.name),
            (
                *("XREADGROUP", "GROUP", self._name, self._member.name, "COUNT", count),
                *("STREAMS", self._stream, after),
            ),
        )
        deliveries = {entry[0]: entry[3] + 1 for entry in counted}
        entries = _entries(answer)
        stream = self.group.stream
        return Pending(
            events=[
                Event(stream, raw_id, fields, deliveries.get(raw_id, 2))
                for raw_id, fields in entries
                if fields is not None
            ],
            lost=[raw_id for raw_id, fields in entries if fields is None],
            after=entries[-1][0] if len(entries) == count else None,
        )

    async def acknowledge(self, raw_ids: Sequence[bytes]) -> None:
        """They are handled."""
        await self._asking.call("XACK", self._stream, self._name, *raw_ids)

    async def give_back(self, raw_ids: Sequence[bytes]) -> None:
        """They were not begun: whoever reads next counts from the first time again."""
        await self._asking.call(
            *("XCLAIM", self._stream, self._name, self._member.name, 0),
            *raw_ids,
            *("RETRYCOUNT", 0, "JUSTID"),
        )

    async def forget_members(self, idle_s: float) -> tuple[int, list[str]]:
        """Remove members that are gone: how much is pending on others, and who was removed.

        Raises LeaseLost, and what a Link raises.
        """
        answer = await self._asking.call(
            *("EVAL", _FORGET, 2, self._stream, reader_key(*self.group)),
            *(self._name, self._member.name, str(self._member), int(idle_s * 1000)),
        )
        if not answer:
            raise LeaseLost
        strays, *removed = answer
        return strays, [name.decode() for name in removed]

    async def begun(self) -> tuple[bytes, int]:
        """The entry that was noted last, and how often it was begun."""
        answer = await self._asking.call("GET", begun_key(*self.group))
        raw_id, _, times = (answer or b"").partition(b" ")
        return raw_id, int(times or 0)

    async def note_begun(self, raw_id: bytes, times: int) -> None:
        """Whoever comes after us, if this process dies on it, must know."""
        await self._asking.call("SET", begun_key(*self.group), b"%b %d" % (raw_id, times))

    def _events(self, answer: Any) -> list[Event]:  # noqa: ANN401 - as the server gives it
        stream = self.group.stream
        return [Event(stream, raw_id, fields) for raw_id, fields in _entries(answer)]


def _entries(answer: Any) -> list[Any]:  # noqa: ANN401
    """Of one stream: a map in RESP3, a list of pairs in RESP2, nothing if there are none."""
    if not answer:
        return []
    [entries] = answer.values() if isinstance(answer, dict) else [answer[0][1]]
    found: list[Any] = entries
    return found


def _position(raw: bytes) -> Position:
    return Position.parse(raw.decode())
