"""``requeue`` and ``discard``: what is to become of dead letters; the member that reads does it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape

from consumer.commands.dead_letters import found_in, shelves, table
from consumer.letters.requests import Wish
from outbox.errors import BadPosition
from outbox.position import Position
from process import console
from process.console import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from consumer.commands.dead_letters import Found, Shelf

_LOOK_AGAIN_S = 0.1
_QUESTIONS = {
    Wish.REQUEUE: "Handle these once more, now?",
    Wish.DISCARD: "Give these up for good?",
}
_DONE = {Wish.REQUEUE: "Handled", Wish.DISCARD: "Discarded"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which dead letters, and how."""

    wish: Wish
    id: str | None
    every: bool
    yes: bool
    dry_run: bool
    as_json: bool
    within_s: float
    """How long to wait for what becomes of them."""


async def run(redis: Redis, group: str, streams: Sequence[str], asked: Asked) -> int:
    """Show what is asked for, ask back, and say what became of it."""
    if bool(asked.id) == asked.every:
        console.notes.print("Which ones? Give either --id or --all (make: ID=… or ALL=1).")
        return Exit.USAGE
    try:
        wanted = Position.parse(asked.id) if asked.id else None
    except BadPosition as exc:
        console.notes.print(f"[red]{escape(str(exc))}", highlight=False)
        return Exit.USAGE
    all_shelves = shelves(redis, group, streams)
    found = [
        one
        for shelf in all_shelves
        for one in await found_in(shelf)
        if wanted is None or one.letter.event_id == str(wanted)
    ]
    if found and not asked.as_json:
        console.screen.print(table(found))
    if wanted and not found:
        console.notes.print(f"No dead letter {wanted} waits.", highlight=False)
        return Exit.FAILED
    if not found or asked.dry_run:
        return _said(asked, found, [], [], [])
    if not console.confirmed(_QUESTIONS[asked.wish], yes=asked.yes):
        return Exit.FAILED
    return await _settled(asked, all_shelves, found)


async def _settled(asked: Asked, all_shelves: Sequence[Shelf], found: Sequence[Found]) -> int:
    of_shelf = {
        shelf: [one.letter.event_id for one in found if one.shelf is shelf] for shelf in all_shelves
    }
    for shelf, event_ids in of_shelf.items():
        await shelf.requests.ask(asked.wish, event_ids)
    done: list[str] = []
    failed: list[str] = []
    waiting: list[str] = []
    deadline = asyncio.get_running_loop().time() + asked.within_s
    for shelf, event_ids in of_shelf.items():
        still = await _until_settled(shelf, set(event_ids), deadline)
        failures = await shelf.requests.failures()
        waiting += sorted(still)
        failed += [event_id for event_id in event_ids if event_id in failures]
        done += [each for each in event_ids if each not in still and each not in failures]
        if still and await shelf.requests.reader() is None:
            console.notes.print(
                f"Nobody reads {escape(shelf.stream)}: it is done as soon as somebody does.",
                highlight=False,
            )
    return _said(asked, found, done, failed, waiting)


async def _until_settled(shelf: Shelf, event_ids: set[str], deadline: float) -> set[str]:
    """What is still to be done at the *deadline*, or as soon as that is nothing."""
    while still := event_ids & (await shelf.requests.open()).keys():
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            break
        await asyncio.sleep(min(_LOOK_AGAIN_S, left_s))
    return still


def _said(
    asked: Asked,
    found: Sequence[Found],
    done: Sequence[str],
    failed: Sequence[str],
    waiting: Sequence[str],
) -> int:
    if asked.as_json:
        report = {
            "found": [one.letter.event_id for one in found],
            _DONE[asked.wish].lower(): done,
            "failedAgain": failed,
            "waiting": waiting,
        }
        print(json.dumps(report))  # noqa: T201
    elif asked.dry_run:
        console.notes.print("Nothing was changed.")
    else:
        again = f" Failed again: {len(failed):,}." if failed else ""
        later = f" Still to be done: {len(waiting):,}." if waiting else ""
        console.notes.print(f"{_DONE[asked.wish]}: {len(done):,}.{again}{later}", highlight=False)
    if failed:
        return Exit.FAILED
    return Exit.DEGRADED if waiting else Exit.FINE
