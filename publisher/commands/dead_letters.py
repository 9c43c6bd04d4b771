"""``dead-letters``: what was set aside; and what ``requeue`` and ``discard`` have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from outbox import dead_letters
from outbox.errors import BadPosition
from outbox.position import Position
from process import console
from process.console import Exit
from publisher.commands.pause import who
from publisher.commands.servers import opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import asyncpg

    from outbox.dead_letters import DeadLetter
    from publisher.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """Which dead letters, and how."""

    id: str | None
    every: bool
    yes: bool
    dry_run: bool
    as_json: bool


async def run(settings: Settings, *, as_json: bool) -> int:
    """List them, oldest first."""
    async with opened(settings) as servers:
        letters = await dead_letters.waiting(servers.pool)
    if as_json:
        print(json.dumps([_report(letter) for letter in letters]))  # noqa: T201
    elif letters:
        console.screen.print(_table(letters))
    else:
        console.notes.print("There are no dead letters.")
    return Exit.FINE


async def settle(
    settings: Settings,
    wish: Wish,
    act: Callable[[asyncpg.Pool, Position, str], Awaitable[bool]],
    *,
    question: str,
    done: str,
) -> int:
    """Show what is wished for, ask, and *act* on one after the other, oldest first."""
    if bool(wish.id) == wish.every:
        console.notes.print("Which ones? Give either --id or --all (make: ID=… or ALL=1).")
        return Exit.USAGE
    try:
        wanted = Position.parse(wish.id) if wish.id else None
    except BadPosition as exc:
        console.notes.print(f"[red]{escape(str(exc))}", highlight=False)
        return Exit.USAGE
    settled: list[str] = []
    async with opened(settings) as servers:
        waiting = await dead_letters.waiting(servers.pool)
        letters = [letter for letter in waiting if wanted in (None, letter.position)]
        if not wish.as_json and letters:
            console.screen.print(_table(letters))
        if wanted and not letters:
            console.notes.print(f"No dead letter {wanted} waits.", highlight=False)
            return Exit.FAILED
        if letters and not wish.dry_run:
            if not console.confirmed(question, yes=wish.yes):
                return Exit.FAILED
            settled = [
                str(letter.position)
                for letter in letters
                if await act(servers.pool, letter.position, who())
            ]
    if wish.as_json:
        found = [str(letter.position) for letter in letters]
        print(json.dumps({"found": found, done.lower(): settled}))  # noqa: T201
    elif wish.dry_run:
        console.notes.print("Nothing was changed.")
    else:
        console.notes.print(f"{done}: {len(settled):,}.", highlight=False)
    return Exit.FINE


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = Table("ID", "event", "bytes", "attempts", "set aside", "reason", box=None)
    for letter in letters:
        table.add_row(
            str(letter.position),
            escape(f"{letter.operation} {letter.entity} {_short(letter.entity_id)}"),
            f"{letter.bytes:,}",
            str(letter.attempts),
            f"{letter.set_aside_at:%F %T %Z}",
            escape(letter.reason),
        )
    return table


def _short(entity_id: str, most: int = 40) -> str:
    return entity_id if len(entity_id) <= most else f"{entity_id[: most - 1]}…"


def _report(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": str(letter.position),
        "stream": letter.stream,
        "at": letter.at.isoformat(),
        "entity": letter.entity,
        "entityId": letter.entity_id,
        "operation": letter.operation,
        "bytes": letter.bytes,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "setAsideAt": letter.set_aside_at.isoformat(),
    }
