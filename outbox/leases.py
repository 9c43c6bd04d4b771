"""Leases: which process moves which checkpoint; an epoch grows with each holder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.errors import LeaseLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    import asyncpg

_SQL = sql.load("outbox")
# Less than a lease lasts: whoever waits longer has lost it.
_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Member:
    """One of the processes that share the leases of a kind."""

    kind: str
    holder: str
    """Unlike any other's, also after a restart."""
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to move the checkpoint *name*, until it expires or somebody has a higher epoch."""

    name: str
    holder: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lease, as it was renewed or taken just now."""

    lease: Lease
    surplus: bool
    """Another member has too few: release it."""
    taken_from: str | None
    """Taken from a holder that did not let go of it."""


async def renew(
    pool: asyncpg.Pool,
    member: Member,
    names: Sequence[str],
    reasons: Mapping[str, str],
    *,
    ttl: timedelta,
) -> list[Held]:
    """Renew, and take a fair share of what is free; everything of *names* that *member* holds.

    *reasons* says what keeps a lease's holder from getting on, by name. Raises OutboxUnavailable.
    """
    with translated():
        rows = await pool.fetch(
            _SQL["renew_leases"],
            *(member.kind, member.holder, member.host, member.pid),
            *(list(names), [reasons.get(name) for name in names], ttl),
            timeout=_TIMEOUT_S,
        )
    return [
        Held(
            Lease(row["name"], member.holder, row["epoch"]),
            surplus=row["surplus"],
            taken_from=row["taken_from"],
        )
        for row in rows
    ]


async def of_other_partitions(pool: asyncpg.Pool, key: str, names: Sequence[str]) -> list[str]:
    """Leases of the streams ``<key>:{…}`` when they are not those of *names*.

    Raises OutboxUnavailable.
    """
    with translated():
        rows = await pool.fetch(_SQL["leases_of"], key + ":{", timeout=_TIMEOUT_S)
    known = [row["name"] for row in rows]
    return known if known and set(known) != set(names) else []


async def release(pool: asyncpg.Pool, lease: Lease) -> None:
    """Let go of *lease* in good order. Raises OutboxUnavailable."""
    with translated():
        await pool.execute(_SQL["release_lease"], lease.name, lease.holder)


async def leave(pool: asyncpg.Pool, member: Member) -> None:
    """Share no longer. Raises OutboxUnavailable."""
    with translated():
        await pool.execute(_SQL["leave"], member.kind, member.holder)


async def raise_epoch(pool: asyncpg.Pool, lease: Lease, *, above: int) -> Lease:
    """The same lease with an epoch over *above*. Raises OutboxUnavailable or LeaseLost."""
    with translated():
        epoch = await pool.fetchval(_SQL["raise_epoch"], lease.name, lease.holder, above)
    if epoch is None:
        raise LeaseLost(f"the lease on {lease.name} is somebody else's by now")
    return Lease(lease.name, lease.holder, epoch)
