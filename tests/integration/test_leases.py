"""Leases: a fair share for each, one holder at a time, no checkpoint moved by anybody else."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import pytest
from publishing import eventually
from servers import Connect

from outbox import checkpoints, leases
from outbox.checkpoints import Checkpoint
from outbox.errors import LeaseLost
from outbox.leases import Held, Lease, Member
from outbox.position import ORIGIN, Position

LONG = timedelta(hours=1)
EXPIRED = timedelta(0)
NAMES = ["a", "b", "c", "d", "e"]
ALICE, BOB, CAROL, DAVE = [
    # The first to join is not the first by name.
    Member("publisher", holder, "host", 1)
    for holder in ("host/4", "host/2", "host/3", "host/1")
]


async def renew(
    pool: asyncpg.Pool,
    member: Member,
    names: Sequence[str] = ("a",),
    *,
    ttl: timedelta = LONG,
    reason: str | None = None,
) -> list[Held]:
    reasons = dict.fromkeys(names, reason) if reason else {}
    return await leases.renew(pool, member, names, reasons, ttl=ttl)


async def take(pool: asyncpg.Pool, member: Member, *, ttl: timedelta = LONG) -> Lease:
    """The one lease that there is, which must be free."""
    [held] = await renew(pool, member, ttl=ttl)
    return held.lease


async def round_of(
    pool: asyncpg.Pool, members: Sequence[Member], names: Sequence[str]
) -> dict[str, str]:
    """Each renews once, and releases what is too much; who holds what then."""
    for member in members:
        for held in await renew(pool, member, names):
            if held.surplus:
                await leases.release(pool, held.lease)
    return await holders(pool)


async def holders(pool: asyncpg.Pool) -> dict[str, str]:
    rows = await pool.fetch("SELECT name, holder FROM outbox.lease WHERE holder IS NOT NULL")
    return {row["name"]: row["holder"] for row in rows}


# Shares


@pytest.mark.parametrize("members", [1, 2, 3, 4])
@pytest.mark.parametrize("names", [1, 2, 3, 4, 5])
async def test_members_share_evenly_also_when_one_joins_and_one_leaves(
    pool: asyncpg.Pool, names: int, members: int
) -> None:
    everyone, share = [ALICE, BOB, CAROL, DAVE][:members], NAMES[:names]
    for count in range(1, members + 1):
        # Those who are there let go of something, the new one finds it: two rounds.
        before = await holders(pool)
        await round_of(pool, everyone[:count], share)
        after = await round_of(pool, everyone[:count], share)
        assert even(after, names, count)
        assert await round_of(pool, everyone[:count], share) == after
        # The newcomer has what it has, and nobody else has anything that he had not.
        taken = {name for name in share if before.get(name) != after[name]}
        assert {after[name] for name in taken} <= {everyone[count - 1].holder}
    for gone in range(members - 1):
        for held in await renew(pool, everyone[gone], share):
            await leases.release(pool, held.lease)
        await leases.leave(pool, everyone[gone])
        left = everyone[gone + 1 :]
        await round_of(pool, left, share)
        assert even(await round_of(pool, left, share), names, len(left))


def even(held: dict[str, str], names: int, members: int) -> bool:
    """Whether all are held, and nobody has two more than somebody else."""
    counts = Counter(held.values())
    fewest = 0 if len(counts) < members else min(counts.values())
    return len(held) == names and max(counts.values()) - fewest <= 1


async def test_one_that_joins_takes_nothing_that_works(pool: asyncpg.Pool) -> None:
    first = await renew(pool, ALICE)
    for newcomer in (BOB, CAROL, DAVE):
        assert await renew(pool, newcomer) == []
        assert await renew(pool, ALICE) == [Held(first[0].lease, surplus=False, taken_from=None)]


async def test_a_share_is_taken_only_when_it_was_let_go_of(pool: asyncpg.Pool) -> None:
    await renew(pool, ALICE, ["a", "b", "c", "d"])
    assert await renew(pool, BOB, ["a", "b", "c", "d"]) == []
    held = await renew(pool, ALICE, ["a", "b", "c", "d"])
    assert [one.lease.name for one in held if one.surplus] == ["c", "d"]
    # As long as it does not release them they are its own.
    assert await renew(pool, BOB, ["a", "b", "c", "d"]) == []
    await leases.release(pool, held[2].lease)
    assert [one.lease.name for one in await renew(pool, BOB, ["a", "b", "c", "d"])] == ["c"]


async def test_members_of_another_kind_take_no_part(pool: asyncpg.Pool) -> None:
    await renew(pool, Member("projector", "other", "host", 1), ["projector"])
    assert len(await renew(pool, ALICE, ["a", "b"])) == 2
    assert not any(held.surplus for held in await renew(pool, ALICE, ["a", "b"]))


async def test_one_that_was_not_heard_of_counts_no_longer(pool: asyncpg.Pool) -> None:
    await renew(pool, ALICE, ["a", "b"], ttl=EXPIRED)
    assert [held.lease.name for held in await renew(pool, BOB, ["a", "b"])] == ["a", "b"]
    assert await pool.fetchval("SELECT array_agg(holder) FROM outbox.member") == [BOB.holder]


async def test_members_that_all_ask_at_once_never_hold_the_same(pool: asyncpg.Pool) -> None:
    names = ["a", "b", "c", "d"]
    for _ in range(10):
        answers = await asyncio.gather(
            *(renew(pool, member, names) for member in (ALICE, BOB, CAROL, DAVE))
        )
        held = [one.lease.name for answer in answers for one in answer]
        assert sorted(held) == sorted(set(held))
        for one in (one for answer in answers for one in answer if one.surplus):
            await leases.release(pool, one.lease)
    assert sorted(Counter((await holders(pool)).values()).values()) == [1, 1, 1, 1]


# One holder after the other


async def test_a_lease_that_expired_is_taken_with_a_higher_epoch_and_names_its_holder(
    pool: asyncpg.Pool,
) -> None:
    lost = await take(pool, ALICE, ttl=EXPIRED)
    [held] = await renew(pool, BOB)
    assert held == Held(Lease("a", BOB.holder, lost.epoch + 1), surplus=False, taken_from="host/4")
    # That it was taken is said once.
    assert await renew(pool, BOB) == [Held(held.lease, surplus=False, taken_from=None)]


async def test_a_lease_that_was_released_is_taken_with_a_higher_epoch_and_names_nobody(
    pool: asyncpg.Pool,
) -> None:
    left = await take(pool, ALICE)
    await leases.release(pool, left)
    await leases.leave(pool, ALICE)
    [held] = await renew(pool, BOB)
    assert held == Held(Lease("a", BOB.holder, left.epoch + 1), surplus=False, taken_from=None)


async def test_a_lease_that_holds_is_not_taken(pool: asyncpg.Pool) -> None:
    await take(pool, ALICE)
    await pool.execute("DELETE FROM outbox.member")
    assert await renew(pool, BOB) == []


async def test_a_holder_that_is_late_keeps_what_nobody_took(pool: asyncpg.Pool) -> None:
    late = await take(pool, ALICE, ttl=EXPIRED)
    assert await renew(pool, ALICE) == [Held(late, surplus=False, taken_from=None)]
    assert await renew(pool, BOB) == []


async def test_only_its_holder_can_release_a_lease(pool: asyncpg.Pool) -> None:
    lost = await take(pool, ALICE, ttl=EXPIRED)
    await take(pool, BOB)
    await leases.release(pool, lost)
    assert await holders(pool) == {"a": BOB.holder}


async def test_what_keeps_a_holder_from_getting_on_is_told_since_when(pool: asyncpg.Pool) -> None:
    async def told(reason: str | None) -> tuple[str | None, datetime | None]:
        await renew(pool, ALICE, reason=reason)
        [row] = await pool.fetch("SELECT reason, since FROM outbox.lease")
        return row["reason"], row["since"]

    await take(pool, ALICE)
    assert await told(None) == (None, None)
    full, since = await told("oom")
    assert full == "oom"
    assert since is not None
    assert await told("oom") == ("oom", since)
    other, later = await told("readonly")
    assert other == "readonly"
    assert later is not None
    assert later > since
    assert await told(None) == (None, None)


# What a lease is for: its checkpoint


def at(ms: int) -> Checkpoint:
    return Checkpoint(Position(ms, 1), Position(ms, 2))


async def test_a_checkpoint_is_moved_under_its_lease(pool: asyncpg.Pool) -> None:
    lease = await take(pool, ALICE)
    assert await checkpoints.load(pool, "a") is None
    for ms in (5, 9):
        await checkpoints.save(pool, lease, at(ms))
        assert await checkpoints.load(pool, "a") == at(ms)


@pytest.mark.parametrize(
    "wrong",
    [
        Lease("a", BOB.holder, 1),
        Lease("a", ALICE.holder, 0),
        Lease("a", ALICE.holder, 2),
        Lease("b", ALICE.holder, 1),
    ],
)
async def test_another_holder_or_epoch_or_name_moves_no_checkpoint(
    pool: asyncpg.Pool, wrong: Lease
) -> None:
    lease = await take(pool, ALICE)
    await checkpoints.save(pool, lease, at(5))
    with pytest.raises(LeaseLost):
        await checkpoints.save(pool, wrong, at(9))
    assert await checkpoints.load(pool, "a") == at(5)
    assert await checkpoints.load(pool, "b") is None


async def test_one_whose_lease_was_taken_moves_no_checkpoint(pool: asyncpg.Pool) -> None:
    lost = await take(pool, ALICE, ttl=EXPIRED)
    # It may, as long as nobody else took over: nobody else knows better.
    await checkpoints.save(pool, lost, at(5))
    lease = await take(pool, BOB)
    with pytest.raises(LeaseLost):
        await checkpoints.save(pool, lost, at(9))
    assert await checkpoints.load(pool, "a") == at(5)
    await checkpoints.save(pool, lease, at(7))


async def test_one_that_gets_its_lease_back_has_another_epoch(pool: asyncpg.Pool) -> None:
    lost = await take(pool, ALICE, ttl=EXPIRED)
    await take(pool, BOB, ttl=EXPIRED)
    again = await take(pool, ALICE)
    assert again.epoch == lost.epoch + 2
    with pytest.raises(LeaseLost):
        await checkpoints.save(pool, lost, at(9))
    await checkpoints.save(pool, again, at(9))


MOVE = "SELECT outbox.move_checkpoint($1, $2, $3, $4, 1, 0, 0)"


async def waits(connection: asyncpg.Connection) -> bool:
    """Whether somebody waits for a lock in this database."""
    return bool(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


async def test_a_lease_is_not_taken_over_while_its_checkpoint_is_being_moved(
    pool: asyncpg.Pool, connect: Connect
) -> None:
    moving, watching = await connect(), await connect()
    lost = await take(pool, ALICE, ttl=EXPIRED)
    async with moving.transaction():
        assert await moving.fetchval(MOVE, "a", lost.holder, lost.epoch, 5)
        taking = asyncio.create_task(take(pool, BOB))
        await eventually(lambda: waits(watching))
        assert not taking.done()
    lease = await taking
    # Whoever has taken it finds the checkpoint where the one before has left it.
    assert await checkpoints.load(pool, "a") == Checkpoint(Position(5, 1), ORIGIN)
    assert not await moving.fetchval(MOVE, "a", lost.holder, lost.epoch, 9)
    assert lease.epoch == lost.epoch + 1


async def test_a_checkpoint_is_not_moved_while_its_lease_is_being_taken_over(
    pool: asyncpg.Pool, connect: Connect
) -> None:
    taking, watching = await connect(), await connect()
    lost = await take(pool, ALICE, ttl=EXPIRED)
    async with taking.transaction():
        await taking.fetch(
            "SELECT outbox.renew_leases('publisher', 'host/2', 'host', 1, '{a}', '{null}', '1 h')"
        )
        moving = asyncio.create_task(checkpoints.save(pool, lost, at(5)))
        await eventually(lambda: waits(watching))
    with pytest.raises(LeaseLost):
        await moving
    assert await checkpoints.load(pool, "a") is None


async def test_a_higher_epoch_is_given_to_the_holder_and_to_nobody_else(
    pool: asyncpg.Pool,
) -> None:
    lease = await take(pool, ALICE)
    raised = await leases.raise_epoch(pool, lease, above=41)
    assert raised == Lease("a", ALICE.holder, 42)
    # It never goes back, whatever a stream knows.
    assert (await leases.raise_epoch(pool, raised, above=3)).epoch == 43
    assert [held.lease.epoch for held in await renew(pool, ALICE)] == [43]
    with pytest.raises(LeaseLost):
        await leases.raise_epoch(pool, Lease("a", BOB.holder, 43), above=50)
