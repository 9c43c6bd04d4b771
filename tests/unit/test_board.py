"""The board: an offer reaches every worker that does not know it yet, and wakes who waits."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from outbox.tick import Tick
from publisher.board import UNKNOWN, Board, Offer

NEVER = asyncio.Event()
"""Never set."""
LONG_S = 3600.0


def tick(ms: int) -> Tick:
    return Tick(ms, (1, 1, ()), -1, [], (2, 2, ()), 9, 0, 1, 0)


async def after_all_had_their_turn(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is other tasks that are waited for
            await asyncio.sleep(0)


async def given_up(waiting: Awaitable[object]) -> None:
    """Cancel a wait that would go on."""
    task = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("level_ms", [UNKNOWN, None, 5, 9])
async def test_who_is_at_another_tick_gets_the_offer_at_once(level_ms: int | None) -> None:
    board, offer = Board(), Offer(6, tick(7))
    board.post(offer)
    assert await board.next(level_ms, NEVER, timeout_s=LONG_S) is offer
    assert not board.is_wanted


async def test_who_is_level_waits_for_the_next() -> None:
    board = Board()
    board.post(Offer(6, tick(7)))
    waiting = asyncio.create_task(board.next(7, NEVER, timeout_s=LONG_S))
    await after_all_had_their_turn(lambda: board.is_wanted)
    board.post(Offer(7, tick(8)))
    assert (await waiting).newest_ms == 8
    assert not board.is_wanted


async def test_an_offer_reaches_every_worker_that_waits() -> None:
    board = Board()
    board.post(Offer(None))
    waiting = [asyncio.create_task(board.next(None, NEVER, timeout_s=LONG_S)) for _ in range(3)]
    await after_all_had_their_turn(lambda: board.is_wanted)
    board.post(Offer(None, tick(7)))
    assert [offer.newest_ms for offer in await asyncio.gather(*waiting)] == [7, 7, 7]


async def test_what_is_nothing_new_wakes_nobody() -> None:
    board = Board()
    board.post(Offer(6, tick(7)))
    waiting = asyncio.create_task(board.next(7, NEVER, timeout_s=LONG_S))
    await after_all_had_their_turn(lambda: board.is_wanted)
    board.post(Offer(7))
    await given_up(waiting)


async def test_a_worker_that_has_waited_long_enough_hears_that_there_is_nothing() -> None:
    board = Board()
    board.post(Offer(6, tick(7)))
    offer = await board.next(7, NEVER, timeout_s=0)
    assert offer == Offer(7)
    assert offer.newest_ms == 7


async def test_before_the_first_offer_nothing_is_known_however_long_it_takes() -> None:
    board = Board()
    waiting = asyncio.create_task(board.next(None, NEVER, timeout_s=0))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    assert board.is_wanted
    board.post(Offer(None))
    assert await waiting == Offer(None)


async def test_an_offer_that_was_withdrawn_is_given_to_nobody() -> None:
    board = Board()
    board.post(Offer(6, tick(7)))
    board.withdraw()
    assert not board.is_open
    waiting = asyncio.create_task(board.next(5, NEVER, timeout_s=0))
    await after_all_had_their_turn(lambda: board.is_wanted)
    # The same once more is an offer again.
    board.post(Offer(6, tick(7)))
    assert (await waiting).newest_ms == 7
    assert board.is_open


@pytest.mark.parametrize("posted", [False, True])
async def test_a_worker_that_is_stopped_waits_no_longer(*, posted: bool) -> None:
    board, stop = Board(), asyncio.Event()
    if posted:
        board.post(Offer(6, tick(7)))
    waiting = asyncio.create_task(board.next(7, stop, timeout_s=LONG_S))
    await after_all_had_their_turn(lambda: board.is_wanted)
    stop.set()
    assert await waiting == Offer(7)
    assert not board.is_wanted


async def test_looks_are_wanted_as_long_as_one_worker_has_nothing_to_do() -> None:
    board, stops = Board(), [asyncio.Event(), asyncio.Event()]
    assert not board.is_wanted
    waiting = [asyncio.create_task(board.next(None, stop, timeout_s=LONG_S)) for stop in stops]
    async with asyncio.timeout(5):
        await board.wanted(NEVER)
    stops[0].set()
    await waiting[0]
    assert board.is_wanted
    stops[1].set()
    await waiting[1]
    assert not board.is_wanted
    await given_up(board.wanted(NEVER))


async def test_whoever_waits_to_be_wanted_can_be_stopped() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(Board().wanted(stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await waiting


async def test_a_worker_that_is_cancelled_wants_nothing_any_more() -> None:
    board = Board()
    waiting = asyncio.create_task(board.next(None, NEVER, timeout_s=LONG_S))
    await after_all_had_their_turn(lambda: board.is_wanted)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert not board.is_wanted
