"""``explain``: one event's way, or an entity's newest events, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from outbox.errors import BadPosition
from outbox.position import Position
from process.console import Exit, notes, screen
from publisher.audit.delivery import Reading
from publisher.audit.explain import Explainer
from publisher.audit.story import State
from publisher.commands.servers import opened

if TYPE_CHECKING:
    from publisher.audit.delivery import Delivery
    from publisher.audit.explain import Told
    from publisher.audit.story import Story
    from publisher.settings import Settings

_WELL = {State.IN_THE_STREAM, State.TRIMMED}
_UNDER_WAY = {State.WAITING, State.NOT_IN_A_TICK, State.NOT_YET}


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed: an ID, or an entity."""

    id: str | None
    entity_id: str | None
    entity: str | None
    last: int
    within_s: float


async def run(settings: Settings, wish: Wish, *, as_json: bool) -> int:
    """Tell it; the exit code."""
    if wish.id is not None and wish.entity_id is None:
        return await _event(settings, wish.id, as_json=as_json)
    if wish.entity_id is not None and wish.id is None:
        return await _entity(settings, wish, wish.entity_id, as_json=as_json)
    notes.print("[red]Give either --id or --entity-id (make: ID= or ENTITY_ID=)")
    return Exit.USAGE


async def _event(settings: Settings, id_: str, *, as_json: bool) -> int:
    try:
        position = Position.parse(id_)
    except BadPosition as exc:
        notes.print(f"[red]{exc}", highlight=False)
        return Exit.USAGE
    async with opened(settings) as servers:
        explainer = Explainer(servers.pool, servers.redis, servers.ticks, servers.streams)
        story = await explainer.at(position)
    if as_json:
        print(json.dumps(_as_json(story)))  # noqa: T201
    else:
        screen.print(_panel(story))
    return Exit.FINE


async def _entity(settings: Settings, wish: Wish, entity_id: str, *, as_json: bool) -> int:
    columns = (TextColumn("looking back"), BarColumn())
    async with opened(settings) as servers:
        explainer = Explainer(servers.pool, servers.redis, servers.ticks, servers.streams)
        with Progress(*columns, console=notes, transient=True) as progress:
            task = progress.add_task("", total=None)
            told = await explainer.of_entity(
                entity_id,
                wish.entity,
                count=wish.last,
                within_s=wish.within_s,
                watch=lambda done, total: progress.update(task, completed=done, total=total),
            )
    if as_json:
        back_to = told.back_to.isoformat() if told.back_to else None
        events = [_as_json(story) for story in told.stories]
        print(json.dumps({"events": events, "looked_back_to": back_to}))  # noqa: T201
    else:
        _print(told, entity_id)
    return Exit.FINE


def _as_json(story: Story) -> dict[str, object]:
    return asdict(story) | {"deliveries": [one._asdict() for one in story.deliveries]}


def _panel(story: Story) -> Panel:
    way = Table.grid(padding=(0, 2))
    way.add_column(style="bold", no_wrap=True)
    way.add_column()
    if written := story.written:
        what = f"{written.operation} of {written.entity} {written.entity_id}"
        way.add_row("event", escape(f"{what}, {written.payload_bytes:,} bytes"))
        by = f"by transaction {written.transaction}, as row {written.row}"
        way.add_row("written", f"{written.at} {by}")
        if written.traceparent:
            way.add_row("trace", escape(written.traceparent))
    if numbered := story.numbered:
        of = f"number {numbered.number:,} of {numbered.events:,}"
        way.add_row("tick", f"{numbered.tick}, made {numbered.made_at}: {of}")
    way.add_row("state", _state(story.state) + (f" {story.stream}" if story.stream else ""))
    for number, sentence in enumerate(story.why):
        way.add_row("why" if not number else "", escape(sentence))
    for number, delivery in enumerate(story.deliveries):
        way.add_row("groups" if not number else "", _delivery(delivery))
    return Panel(Group(way), title=story.id or "no ID yet", title_align="left", expand=False)


def _print(told: Told, entity_id: str) -> None:
    if told.stories:
        table = Table("written", "what", "ID", "state", "groups", box=None)
        for story in told.stories:
            written = story.written
            table.add_row(
                written.at if written else "",
                escape(f"{written.operation} {written.entity}") if written else "",
                story.id or "",
                "\n".join([_state(story.state), *(escape(why) for why in story.why)]),
                "\n".join(_delivery(delivery) for delivery in story.deliveries),
            )
        screen.print(table)
    else:
        screen.print(f"No event of {escape(entity_id)} was found.")
    if told.back_to:
        screen.print(
            f"Looked back to {told.back_to:%F %T %Z}; what was written before was not looked at."
            " Look longer with --within-s (make: WITHIN_S=)."
        )


def _state(state: State) -> str:
    text = state.replace("_", " ")
    if state in _WELL:
        return f"[green]{text}[/green]"
    return f"[yellow]{text}[/yellow]" if state in _UNDER_WAY else f"[red]{text}[/red]"


def _delivery(delivery: Delivery) -> str:
    text = f"{escape(delivery.group)} {delivery.reading.replace('_', ' ')}"
    if delivery.reading is not Reading.PENDING:
        return text
    times = f", delivered {delivery.deliveries} times" if (delivery.deliveries or 0) > 1 else ""
    return f"{text} with {escape(delivery.consumer or '')} for {delivery.idle_s:,.0f} s{times}"
