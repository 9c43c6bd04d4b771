"""The loop around the pass: when it looks, when it sleeps and what it says."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.bell import Bell
from publisher.pacing import Pacing
from publisher.worker import PassReport, run_worker

AT_ONCE = Pacing(busy_pause_s=0, poll_pause_s=0, backstop_s=0, backoff_base_s=0)


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
            return await quietly(stop, timeout_s)
        return True

    async def wake_up(self) -> None:
        self._diary.append("wake up")
        self._sleeps = False

    def should_have_rung(self) -> None:
        self._diary.append("should have rung")

    async def close(self) -> None:
        self._diary.append("close")
        self._sleeps = False


async def quietly(stop: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout_s)
    return False


async def run_through(
    answers: Sequence[int | CatalogStreamError],
    *,
    diary: list[str] | None = None,
    bell: Bell | None = None,
    pacing: Pacing = AT_ONCE,
    dice: Callable[[], float] = lambda: 0.0,
) -> list[PassReport]:
    """One pass for each of *answers*, then stop; what was reported."""
    diary = [] if diary is None else diary
    stop, reports, left = asyncio.Event(), list[PassReport](), iter(answers)
    remaining = len(answers)

    async def one_pass() -> int:
        nonlocal remaining
        diary.append("pass")
        remaining -= 1
        if remaining == 0:
            stop.set()
        answer = next(left)
        if isinstance(answer, CatalogStreamError):
            raise answer
        return answer

    async with asyncio.timeout(5):
        await run_worker(
            one_pass, bell or ScriptedBell(diary), pacing, stop, observe=reports.append, dice=dice
        )
    return reports


async def test_a_failed_pass_backs_off_and_then_recovers() -> None:
    lost, refused = OutboxUnavailable(), StreamRefused("OOM", "OOM no room")
    reports = await run_through([lost, StreamUnavailable(), refused, 3])
    assert [(r.moved, r.failures, type(r.error)) for r in reports] == [
        (0, 1, OutboxUnavailable),
        (0, 2, StreamUnavailable),
        (0, 3, StreamRefused),
        (3, 0, type(None)),
    ]


async def test_failures_are_counted_in_a_row() -> None:
    reports = await run_through([OutboxUnavailable(), 1, OutboxUnavailable(), 1])
    assert [report.failures for report in reports] == [1, 0, 1, 0]


async def test_the_dice_are_thrown_once_for_each_failure() -> None:
    thrown = iter([0.5, 0.25])
    failures = [OutboxUnavailable(), OutboxUnavailable()]
    await run_through([*failures, 1], dice=lambda: next(thrown))
    assert list(thrown) == []


async def test_after_a_failure_the_bell_is_let_go() -> None:
    diary: list[str] = []
    await run_through([0, OutboxUnavailable(), 1], diary=diary)
    assert diary == ["pass", "fall asleep", "pass", "close", "pass"]


async def test_while_there_is_work_nothing_sleeps() -> None:
    diary: list[str] = []
    reports = await run_through([5, 4, 3], diary=diary)
    assert diary == ["pass"] * 3
    assert [report.moved for report in reports] == [5, 4, 3]


async def test_having_fallen_asleep_it_looks_once_more_before_it_waits() -> None:
    diary: list[str] = []
    await run_through([0, 0, 2, 1], diary=diary)
    assert diary == [
        *["pass", "fall asleep"],
        *["pass", "wait", "pass", "should have rung", "wake up"],
        "pass",
    ]


async def test_what_it_finds_when_it_looks_once_more_wakes_it() -> None:
    diary: list[str] = []
    await run_through([0, 2, 1], diary=diary)
    assert diary == ["pass", "fall asleep", "pass", "wake up", "pass"]


async def test_while_a_writer_keeps_it_awake_it_looks_again_and_again() -> None:
    diary: list[str] = []
    await run_through([0, 0, 1], diary=diary, bell=ScriptedBell(diary, may_sleep=False))
    assert diary == ["pass", "fall asleep", "pass", "fall asleep", "pass"]


async def test_when_nothing_rings_it_looks_all_the_same_and_sleeps_on() -> None:
    diary: list[str] = []
    await run_through([0, 0, 0, 0, 0], diary=diary, bell=ScriptedBell(diary, rings=False))
    assert diary == ["pass", "fall asleep", *["pass", "wait", "pass"] * 2]


async def test_what_is_found_without_a_ring_is_reported_to_the_bell() -> None:
    diary: list[str] = []
    reports = await run_through([0, 0, 7], diary=diary, bell=ScriptedBell(diary, rings=False))
    assert diary[-2:] == ["should have rung", "wake up"]
    assert [report.moved for report in reports] == [0, 7]


async def test_a_ring_for_nothing_wakes_it_all_the_same() -> None:
    diary: list[str] = []
    await run_through([0, 0, 0], diary=diary)
    assert diary == ["pass", "fall asleep", "pass", "wait", "pass", "wake up"]


@pytest.mark.parametrize(
    ("answer", "pacing"),
    [
        (1, Pacing(busy_pause_s=3600)),
        (0, Pacing(poll_pause_s=3600)),
        (StreamUnavailable(), Pacing(backoff_base_s=3600, backoff_cap_s=3600)),
    ],
)
async def test_it_stops_at_once_whatever_it_is_waiting_for(
    answer: int | CatalogStreamError, pacing: Pacing
) -> None:
    stop, passed = asyncio.Event(), asyncio.Event()

    async def one_pass() -> int:
        passed.set()
        if isinstance(answer, CatalogStreamError):
            raise answer
        return answer

    bell = ScriptedBell([], may_sleep=False)
    async with asyncio.timeout(5):
        worker = asyncio.create_task(
            run_worker(one_pass, bell, pacing, stop, observe=lambda _: None, dice=lambda: 0.9)
        )
        await passed.wait()
        stop.set()
        await worker


async def test_it_stops_at_once_while_it_sleeps() -> None:
    stop, diary = asyncio.Event(), list[str]()
    bell = ScriptedBell(diary, rings=False)

    async def one_pass() -> int:
        return 0

    def observe(_: PassReport) -> None:
        asyncio.get_running_loop().call_soon(stop.set)

    async with asyncio.timeout(5):
        await run_worker(
            one_pass, bell, Pacing(backstop_s=3600), stop, observe=observe, dice=lambda: 0.0
        )


async def test_a_worker_that_was_stopped_before_makes_no_pass() -> None:
    stop, diary = asyncio.Event(), list[str]()
    stop.set()

    async def one_pass() -> int:
        raise AssertionError

    bell = ScriptedBell(diary)
    await run_worker(one_pass, bell, AT_ONCE, stop, observe=lambda _: None, dice=lambda: 0.0)
    assert diary == []


async def test_an_unexpected_error_ends_the_worker_unreported() -> None:
    reports: list[PassReport] = []

    async def one_pass() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_worker(
            one_pass,
            ScriptedBell([]),
            AT_ONCE,
            asyncio.Event(),
            observe=reports.append,
            dice=lambda: 0.0,
        )
    assert reports == []
