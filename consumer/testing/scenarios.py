"""What a consumer goes through; each scenario is to end with every event's effect persisted."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.testing.stage import Stage


class Scenario(StrEnum):
    """By name."""

    STEADY = "steady"
    KILLED_BEFORE_THE_ACK = "killed-before-the-ack"
    KILLED_BEFORE_THE_EFFECT = "killed-before-the-effect"
    KILLED_IN_MID_BATCH = "killed-in-mid-batch"
    SLOW_HANDLER = "slow-handler"
    MEMBERS_COME_AND_GO = "members-come-and-go"
    DELIVERED_AGAIN = "delivered-again"
    ACK_LOST = "ack-lost"
    TRIMMED = "trimmed"
    FELL_OFF = "fell-off"
    REDIS_LOST = "redis-lost"
    CLOCK_JUMP = "clock-jump"


async def steady(stage: Stage) -> None:
    """Half of the events are there before the consumer, the others come while it runs."""
    events = stage.demands.events
    stage.publisher.publish(events // 2)
    await stage.start("one")
    for _ in range(5):
        stage.publisher.publish(events // 10)
        await stage.acknowledged(events // 2)
    await stage.settled()


async def killed_before_the_ack(stage: Stage) -> None:
    """The effects of a batch are there, its XACK never arrives; then the same member starts."""
    stage.publisher.publish(stage.demands.events // 2)
    member, ack = await stage.start_held("one", "XACK")
    await stage.reached(ack)
    await stage.kill(member)
    stage.publisher.publish(stage.demands.events // 2)
    await stage.start("one")
    await stage.settled()


async def killed_before_the_effect(stage: Stage) -> None:
    """Redis hands a batch out, and the member dies before it gets it; another one must go on."""
    stage.publisher.publish(stage.demands.events // 2)
    member, _ = await stage.start_without("one")
    await stage.kill(member)
    stage.publisher.publish(stage.demands.events // 2)
    await stage.start("two")
    await stage.settled()


async def killed_in_mid_batch(stage: Stage) -> None:
    """Some effects of a batch are there, some are not; another member, already there, goes on."""
    stage.publisher.publish(stage.demands.events)
    member = await stage.catch_amid("one")
    await stage.start("two")
    await stage.kill(member)
    await stage.settled()


async def slow_handler(stage: Stage) -> None:
    """One event takes longer than the idle limit, and another member is there all the time."""
    first, *_ = stage.publisher.publish(stage.demands.events // 2)
    stage.be_slow_at(first.id)
    await stage.start("one")
    await stage.delivered(first.id)
    await stage.start("two")
    stage.publisher.publish(stage.demands.events // 2)
    await stage.settled()


async def members_come_and_go(stage: Stage) -> None:
    """A second member joins, the first one leaves, a third one joins: all in the midst of work."""
    part = stage.demands.events // 5
    stage.publisher.publish(part)
    one = await stage.start("one")
    await stage.acknowledged(1)
    two = await stage.start("two")
    stage.publisher.publish(part)
    await stage.leave(one)
    stage.publisher.publish(part)
    await stage.acknowledged(2 * part)
    await stage.start("three")
    stage.publisher.publish(part)
    await stage.leave(two)
    stage.publisher.publish(part)
    await stage.settled()


async def delivered_again(stage: Stage) -> None:
    """Somebody sets the group back to the beginning, and it is handed everything once more."""
    stage.publisher.publish(stage.demands.events // 2)
    await stage.start("one")
    await stage.settled()
    stage.watch.allow_all_again()
    await stage.watch.group.deliver_again()
    stage.publisher.publish(stage.demands.events // 2)
    await stage.settled()


async def ack_lost(stage: Stage) -> None:
    """The connection breaks at an XACK, which Redis never sees; the member lives."""
    stage.publisher.publish(stage.demands.events // 2)
    member, ack = await stage.start_held("one", "XACK")
    await stage.reached(ack)
    member.proxy.cut()
    await stage.watch.allow_pending_again()
    stage.publisher.publish(stage.demands.events // 2)
    await stage.settled()


async def trimmed(stage: Stage) -> None:
    """A member died, and some of what was pending on it is trimmed away before it comes back."""
    stage.publisher.publish(stage.demands.events // 2)
    member, _ = await stage.start_without("one")
    await stage.kill(member)
    pending = len((await stage.watch.state_of_group()).pending)
    await stage.watch.trim(keep=stage.demands.events // 2 - (pending + 1) // 2)
    await stage.start("one")
    stage.publisher.publish(stage.demands.events // 2)
    await stage.settled()


async def fell_off(stage: Stage) -> None:
    """While no member runs the stream is trimmed beyond what was delivered."""
    part = stage.demands.events // 4
    stage.publisher.publish(part)
    member = await stage.start("one")
    await stage.settled()
    await stage.kill(member)
    stage.publisher.publish(2 * part)
    await stage.watch.trim(keep=part)
    await stage.start("one")
    stage.publisher.publish(part)
    await stage.settled()


async def redis_lost(stage: Stage) -> None:
    """Twice all data is gone, and the publisher puts the stream back, with the same IDs.

    Once Redis was away, and the stream is there again with events that nobody has seen; once it is
    emptied under the members' eyes, and comes back in two parts.
    """
    part = stage.demands.events // 4
    stage.publisher.publish(part)
    await stage.start("one")
    await stage.settled()
    stage.publisher.publish(part)
    stage.publisher.write(part)
    await stage.lose_redis()
    stage.publisher.restore()
    stage.redis_is_back()
    await stage.settled()
    stage.watch.allow_all_again()
    stage.publisher.forget()
    stage.publisher.write(part)
    stage.publisher.restore(2 * part)
    await stage.group_made()
    stage.publisher.restore()
    await stage.settled()


async def clock_jump(stage: Stage) -> None:
    """IDs and timestamps jump an hour ahead; then timestamps go back two hours, and IDs go on."""
    part = stage.demands.events // 3
    stage.publisher.publish(part)
    await stage.start("one")
    await stage.settled()
    stage.publisher.jump_ahead()
    stage.publisher.publish(part)
    await stage.settled()
    stage.publisher.set_clock_back()
    stage.publisher.publish(part)
    await stage.settled()


PLAYS: dict[Scenario, Callable[[Stage], Awaitable[None]]] = {
    Scenario.STEADY: steady,
    Scenario.KILLED_BEFORE_THE_ACK: killed_before_the_ack,
    Scenario.KILLED_BEFORE_THE_EFFECT: killed_before_the_effect,
    Scenario.KILLED_IN_MID_BATCH: killed_in_mid_batch,
    Scenario.SLOW_HANDLER: slow_handler,
    Scenario.MEMBERS_COME_AND_GO: members_come_and_go,
    Scenario.DELIVERED_AGAIN: delivered_again,
    Scenario.ACK_LOST: ack_lost,
    Scenario.TRIMMED: trimmed,
    Scenario.FELL_OFF: fell_off,
    Scenario.REDIS_LOST: redis_lost,
    Scenario.CLOCK_JUMP: clock_jump,
}
