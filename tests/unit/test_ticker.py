"""When the ticker looks, when it sleeps, and what the bell and the board hear of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from outbox.errors import CatalogStreamError, OutboxReplaced, OutboxUnavailable
from outbox.tick import Tick
from outbox.ticks import Ticks
from publisher.bell import Bell
from publisher.board import Board, Offer
from publisher.pacing import Pacing
from publisher.ticker import Ticker
from publisher.worker import PassReport

AT_ONCE = Pacing(busy_pause_s=0, poll_pause_s=0, backstop_s=0, backoff_base_s=0)
NEVER = asyncio.Event()
"""Never set."""


class ScriptedBell(Bell):
    """Falls asleep when it may, rings when it is told to, and writes down what it was asked."""

    def __init__(self, diary: list[str], *, may_sleep: bool = True, rings: bool = True) -> None:
        self._diary = diary
        self._may_sleep = may_sleep
        self._rings = rings
        self._sleeps = False

    @property
    def is_asleep(self) -> bool:
        return self._sleeps

    async def fall_asleep(self) -> bool:
        self._diary.append("fall asleep")
        self._sleeps = self._may_sleep
        return self._sleeps

    async def wait(self, stop: asyncio.Event, *, timeout_s: float) -> bool:
        self._diary.append("wait")
        if not self._rings:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout_s)
        return self._rings

    async def wake_up(self) -> None:
        self._diary.append("wake up")
        self._sleeps = False

    def should_have_rung(self) -> None:
        self._diary.append("should have rung")

    async def close(self) -> None:
        if self._sleeps:
            self._diary.append("close")
        self._sleeps = False


class ScriptedTicks(Ticks):
    """Finds as many events as it is told to, one answer for each look; then stops the ticker."""

    def __init__(self, diary: list[str], answers: Sequence[int | CatalogStreamError]) -> None:
        self.stop = asyncio.Event()
        self.above: list[int] = []
        self._diary = diary
        self._left = list(answers)
        self._ms: int | None = None

    async def make_and_read(self, **asked: Any) -> tuple[int | None, Tick | None, None]:  # noqa: ANN401
        self._diary.append("look")
        self.above.append(asked["above_ms"])
        answer = self._left.pop(0)
        if not self._left:
            self.stop.set()
        if isinstance(answer, CatalogStreamError):
            raise answer
        previous = self._ms
        if not answer:
            return previous, None, None
        self._ms = (previous or 0) + 1
        return previous, Tick(self._ms, (1, 1, ()), 0, [], (2, 2, ()), 9, 0, answer, 0), None


async def run_through(  # noqa: PLR0913 - each is one thing of a test
    answers: Sequence[int | CatalogStreamError],
    *,
    diary: list[str] | None = None,
    may_sleep: bool = True,
    rings: bool = True,
    pacing: Pacing = AT_ONCE,
    settle: Callable[[], None] = lambda: None,
    board: Board | None = None,
) -> list[PassReport]:
    """One look for each of *answers*, then stop; what was reported."""
    diary, board = [] if diary is None else diary, board or Board()
    ticks, reports = ScriptedTicks(diary, answers), list[PassReport]()
    bell = ScriptedBell(diary, may_sleep=may_sleep, rings=rings)

    async def settled() -> str:
        settle()
        return "incarnation"

    ticker = Ticker(ticks, board, bell, pacing, pack_up_to=0, settle=settled)
    # Somebody who always has nothing left to do.
    waiting = asyncio.create_task(_keep_waiting(board))
    try:
        async with asyncio.timeout(5):
            await ticker.run(ticks.stop, observe=reports.append, dice=lambda: 0.0)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
    return reports


async def _keep_waiting(board: Board) -> None:
    level: int | None = None
    while True:
        level = (await board.next(level, NEVER, timeout_s=3600)).newest_ms


async def test_while_there_is_work_nothing_sleeps() -> None:
    diary: list[str] = []
    reports = await run_through([5, 4, 3], diary=diary)
    assert diary == ["look"] * 3
    assert [report.moved for report in reports] == [5, 4, 3]


async def test_having_fallen_asleep_it_looks_once_more_before_it_waits() -> None:
    diary: list[str] = []
    await run_through([0, 0, 2, 1], diary=diary)
    assert diary == [
        *["look", "fall asleep"],
        *["look", "wait", "look", "should have rung", "wake up"],
        "look",
    ]


async def test_what_it_finds_when_it_looks_once_more_wakes_it() -> None:
    diary: list[str] = []
    await run_through([0, 2, 1], diary=diary)
    assert diary == ["look", "fall asleep", "look", "wake up", "look"]


async def test_while_a_writer_keeps_it_awake_it_looks_again_and_again() -> None:
    diary: list[str] = []
    await run_through([0, 0, 1], diary=diary, may_sleep=False)
    assert diary == ["look", "fall asleep", "look", "fall asleep", "look"]


async def test_when_nothing_rings_it_looks_all_the_same_and_sleeps_on() -> None:
    diary: list[str] = []
    await run_through([0, 0, 0, 0, 0], diary=diary, rings=False)
    assert diary == ["look", "fall asleep", *["look", "wait", "look"] * 2, "close"]


async def test_what_is_found_without_a_ring_is_reported_to_the_bell() -> None:
    diary: list[str] = []
    reports = await run_through([0, 0, 7], diary=diary, rings=False)
    assert diary[-2:] == ["should have rung", "wake up"]
    assert [report.moved for report in reports] == [0, 7]


async def test_a_ring_for_nothing_wakes_it_all_the_same() -> None:
    diary: list[str] = []
    await run_through([0, 0, 0], diary=diary)
    assert diary == ["look", "fall asleep", "look", "wait", "look", "wake up"]


async def test_after_a_failure_the_bell_is_let_go() -> None:
    diary: list[str] = []
    reports = await run_through([0, OutboxUnavailable(), 1], diary=diary)
    assert diary == ["look", "fall asleep", "look", "close", "look"]
    assert [(report.moved, report.failures) for report in reports] == [(0, 0), (0, 1), (1, 0)]


async def test_which_database_it_is_is_made_sure_of_first_and_after_each_failure() -> None:
    settled: list[None] = []
    await run_through([0, 1, OutboxUnavailable(), 1, 1], settle=lambda: settled.append(None))
    assert len(settled) == 2


async def test_a_database_that_was_exchanged_is_looked_at_anew_before_a_tick_is_made() -> None:
    settled: list[None] = []
    reports = await run_through([1, OutboxReplaced(), 1], settle=lambda: settled.append(None))
    assert len(settled) == 2
    assert [report.error for report in reports] == [None, None]


async def test_while_it_cannot_be_sure_it_makes_no_tick_and_offers_nothing() -> None:
    diary, board = list[str](), Board()
    left = [OutboxUnavailable(), OutboxUnavailable()]

    def settle() -> None:
        diary.append("settle")
        if left:
            raise left.pop()

    await run_through([1], diary=diary, settle=settle, board=board)
    assert diary == ["settle", "settle", "settle", "look"]


async def test_what_it_finds_is_on_the_board_and_gone_from_it_when_it_ends() -> None:
    board, diary = Board(), list[str]()
    seen: list[Offer] = []

    async def look_on() -> None:
        level: int | None = -1
        while True:
            seen.append(await board.next(level, NEVER, timeout_s=3600))
            level = seen[-1].newest_ms

    looking = asyncio.create_task(look_on())
    await asyncio.sleep(0)
    await run_through([0, 3, 4], diary=diary, board=board)
    looking.cancel()
    assert [(offer.previous_ms, offer.newest_ms) for offer in seen[-1:]] == [(1, 2)]
    assert not board.is_open


async def test_ticks_are_made_above_what_somebody_else_has_written() -> None:
    diary, board = list[str](), Board()
    board.above_ms = 77
    ticks = ScriptedTicks(diary, [1])
    bell = ScriptedBell(diary)

    async def settled() -> str:
        return "incarnation"

    ticker = Ticker(ticks, board, bell, AT_ONCE, pack_up_to=0, settle=settled)
    assert await ticker.look_and_wait(ticks.stop) == 1
    assert ticks.above == [77]


async def test_while_nobody_waits_it_neither_looks_nor_keeps_the_bell() -> None:
    diary, board, stop = list[str](), Board(), asyncio.Event()
    bell = ScriptedBell(diary)
    await bell.fall_asleep()

    async def settled() -> str:
        return "incarnation"

    ticker = Ticker(ScriptedTicks(diary, [1]), board, bell, AT_ONCE, pack_up_to=0, settle=settled)
    running = asyncio.create_task(ticker.run(stop, observe=lambda _: None, dice=lambda: 0.0))
    async with asyncio.timeout(5):
        while "close" not in diary:  # noqa: ASYNC110 - it is the ticker that is waited for
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        stop.set()
        await running
    assert diary == ["fall asleep", "close"]


async def _stopped(
    answers: list[int | CatalogStreamError], pacing: Pacing, *, once: str, may_sleep: bool = False
) -> list[str]:
    """Stop the ticker *once* that is in the diary; the diary when it has ended."""
    diary, board, stop = list[str](), Board(), asyncio.Event()
    bell = ScriptedBell(diary, may_sleep=may_sleep, rings=False)

    async def settled() -> str:
        return "incarnation"

    ticker = Ticker(
        ScriptedTicks(diary, answers), board, bell, pacing, pack_up_to=0, settle=settled
    )
    waiting = asyncio.create_task(_keep_waiting(board))
    running = asyncio.create_task(ticker.run(stop, observe=lambda _: None, dice=lambda: 0.9))
    async with asyncio.timeout(5):
        while once not in diary:  # noqa: ASYNC110 - it is the ticker that is waited for
            await asyncio.sleep(0)
        stop.set()
        await running
    waiting.cancel()
    return diary


@pytest.mark.parametrize(
    ("answers", "pacing"),
    [
        ([1, 1], Pacing(busy_pause_s=3600)),
        ([0, 1], Pacing(poll_pause_s=3600)),
        ([OutboxUnavailable(), 1], Pacing(backoff_base_s=3600, backoff_cap_s=3600)),
    ],
)
async def test_it_stops_at_once_whatever_it_is_waiting_for(
    answers: list[int | CatalogStreamError], pacing: Pacing
) -> None:
    await _stopped(answers, pacing, once="look")


async def test_it_stops_at_once_while_it_sleeps() -> None:
    pacing = Pacing(backstop_s=3600, poll_pause_s=0)
    diary = await _stopped([0, 0, 0, 0], pacing, once="wait", may_sleep=True)
    assert diary[-1] == "close"
