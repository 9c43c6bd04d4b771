"""``dead-letters``: what a group set aside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from consumer.letters.dead_letters import DeadLetters
from consumer.letters.requests import Requests
from process import console
from process.console import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from consumer.letters.dead_letters import Letter


@dataclass(frozen=True, slots=True)
class Shelf:
    """The dead letters of one stream, and what is wanted of them."""

    stream: str
    letters: DeadLetters
    requests: Requests


class Found(NamedTuple):
    """A dead letter, and all that is known of it."""

    shelf: Shelf
    letter: Letter
    is_parked: bool
    """The later events of its entity wait for it."""
    failed_again: str
    """With what, when it was requeued; empty if it was not."""


def shelves(redis: Redis, group: str, streams: Iterable[str]) -> list[Shelf]:
    """One for each stream."""
    return [
        Shelf(stream, DeadLetters(redis, stream, group), Requests(redis, stream, group))
        for stream in streams
    ]


async def found_in(shelf: Shelf) -> list[Found]:
    """All of them, in the order they were set aside. Raises StreamUnavailable or RedisRefused."""
    parked = await shelf.letters.parked()
    failures = await shelf.requests.failures()
    return [
        Found(shelf, letter, letter.entity_id in parked, failures.get(letter.event_id, ""))
        async for letter in shelf.letters.letters()
    ]


async def run(redis: Redis, group: str, streams: Sequence[str], *, as_json: bool) -> int:
    """List them."""
    found = [one for shelf in shelves(redis, group, streams) for one in await found_in(shelf)]
    if as_json:
        print(json.dumps([_report(one) for one in found]))  # noqa: T201
    elif found:
        console.screen.print(table(found))
    else:
        console.notes.print(f"There are no dead letters of {escape(group)}.", highlight=False)
    return Exit.FINE


def table(found: Iterable[Found]) -> Table:
    """For people."""
    columns = ("ID", "event", "attempts", "set aside", "reason", "error")
    shown = Table(*columns, box=None)
    for one in found:
        fields, failure = one.letter.fields, one.letter.failure
        what = f"{fields.get('operation')} {fields.get('entity')} {one.letter.entity_id}"
        shown.add_row(
            one.letter.event_id,
            escape(what),
            str(failure.attempts),
            one.letter.failed_at,
            f"{failure.reason}{', parked' if one.is_parked else ''}",
            escape(_error(one)),
        )
    return shown


def _error(one: Found) -> str:
    again = f"requeued, and again: {one.failed_again}" if one.failed_again else ""
    return again or one.letter.failure.error


def _report(one: Found) -> dict[str, Any]:
    letter, failure = one.letter, one.letter.failure
    return {
        "id": letter.event_id,
        "stream": one.shelf.stream,
        "entity": letter.fields.get("entity"),
        "entityId": letter.entity_id,
        "operation": letter.fields.get("operation"),
        "reason": failure.reason,
        "error": failure.error,
        "tracebackDigest": failure.digest,
        "attempts": failure.attempts,
        "failedAt": letter.failed_at,
        "parked": one.is_parked,
        "failedAgain": one.failed_again or None,
    }
