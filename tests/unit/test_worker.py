"""The loop around the pass: what it waits out, what it reports, and how it ends."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from outbox.epochs import Identity
from outbox.errors import (
    CatalogStreamError,
    LeaseLost,
    OutboxUnavailable,
    StreamRefused,
    StreamUnavailable,
)
from publisher.errors import IdentityChanged, StreamFenced
from publisher.pacing import Pacing
from publisher.worker import PassReport, run_worker

AT_ONCE = Pacing(backoff_base_s=0)


async def at_once() -> None:
    """There is always something to do."""


async def run_through(
    answers: Sequence[int | Exception],
    *,
    ready: Callable[[], None] = lambda: None,
    dice: Callable[[], float] = lambda: 0.0,
) -> list[PassReport]:
    """One pass for each of *answers*, then stop; what was reported."""
    stop, reports, left = asyncio.Event(), list[PassReport](), list(answers)

    async def is_ready() -> None:
        ready()

    async def one_pass() -> int:
        answer = left.pop(0)
        if not left:
            stop.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def observe(report: PassReport) -> None:
        reports.append(report)

    async with asyncio.timeout(5):
        await run_worker(is_ready, one_pass, AT_ONCE, stop, observe=observe, dice=dice)
    return reports


async def test_a_failed_pass_backs_off_and_then_recovers() -> None:
    refused = StreamRefused("OOM", "OOM no room")
    changed = IdentityChanged(Identity(1, 1), Identity(2, 1))
    reports = await run_through([OutboxUnavailable(), StreamUnavailable(), refused, changed, 3])
    assert [(r.moved, r.failures, type(r.error)) for r in reports] == [
        (0, 1, OutboxUnavailable),
        (0, 2, StreamUnavailable),
        (0, 3, StreamRefused),
        (0, 4, IdentityChanged),
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


async def test_every_pass_waits_until_it_is_ready() -> None:
    waits: list[None] = []
    reports = await run_through([5, StreamUnavailable(), 4], ready=lambda: waits.append(None))
    assert [report.moved for report in reports] == [5, 0, 4]
    assert len(waits) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError(), LeaseLost(), StreamFenced(7)])
async def test_what_does_not_pass_with_time_ends_the_worker_unreported(error: Exception) -> None:
    reports: list[PassReport] = []

    async def one_pass() -> int:
        raise error

    async def observe(report: PassReport) -> None:
        reports.append(report)

    with pytest.raises(type(error)):
        await run_worker(
            at_once, one_pass, AT_ONCE, asyncio.Event(), observe=observe, dice=lambda: 0.0
        )
    assert reports == []


async def test_it_stops_at_once_while_it_waits_after_a_failure() -> None:
    stop, failed = asyncio.Event(), asyncio.Event()

    async def one_pass() -> int:
        raise StreamUnavailable

    async def observe(_: PassReport) -> None:
        failed.set()

    pacing = Pacing(backoff_base_s=3600, backoff_cap_s=3600)
    async with asyncio.timeout(5):
        worker = asyncio.create_task(
            run_worker(at_once, one_pass, pacing, stop, observe=observe, dice=lambda: 0.9)
        )
        await failed.wait()
        stop.set()
        await worker


@pytest.mark.parametrize("passes", [0, 1])
async def test_stopped_while_it_waits_to_be_ready_it_makes_no_more_passes(passes: int) -> None:
    stop, made, asked = asyncio.Event(), list[None](), list[None]()

    async def ready() -> None:
        asked.append(None)
        if len(asked) > passes:
            stop.set()

    async def one_pass() -> int:
        made.append(None)
        return 1

    async def observe(_: PassReport) -> None:
        """Nothing to see."""

    async with asyncio.timeout(5):
        await run_worker(ready, one_pass, AT_ONCE, stop, observe=observe, dice=lambda: 0.0)
    assert len(made) == passes


async def test_a_worker_that_was_stopped_before_asks_for_nothing() -> None:
    stop = asyncio.Event()
    stop.set()

    async def never() -> None:
        raise AssertionError

    async def one_pass() -> int:
        raise AssertionError

    async def observe(_: PassReport) -> None:
        raise AssertionError

    await run_worker(never, one_pass, AT_ONCE, stop, observe=observe, dice=lambda: 0.0)


async def test_a_report_says_how_long_the_pass_took() -> None:
    async def one_pass() -> int:
        stop.set()
        await asyncio.sleep(0.02)
        return 1

    stop, reports = asyncio.Event(), list[PassReport]()

    async def observe(report: PassReport) -> None:
        reports.append(report)

    await run_worker(at_once, one_pass, AT_ONCE, stop, observe=observe, dice=lambda: 0.0)
    assert reports[0].took_s >= 0.01


def test_an_error_of_ours_says_what_happened() -> None:
    errors: list[CatalogStreamError] = [StreamFenced(7), LeaseLost()]
    assert ["7" in str(errors[0]), str(errors[1])] == [
        True,
        "Somebody else holds the lease by now.",
    ]
