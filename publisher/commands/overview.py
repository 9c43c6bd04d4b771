"""The status on one screen of eighty columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from publisher.survey.group_status import GroupStatus
    from publisher.survey.status import PublishersStatus, Status, StreamStatus

_ROWS = 6
_PROBLEMS = 3
_TENTHS_BELOW_S, _MINUTE_S, _HOUR_S, _DAY_S = 10, 60, 3600, 86_400
_MB = 1 << 20


def overview(now: Status) -> RenderableType:
    """All of *now* that fits; ``--json`` has the rest."""
    parts: list[RenderableType] = [_way(now)]
    if "redis" not in now.away:
        parts += [Text(), _streams(now.streams)]
        if groups := now.groups:
            parts += [Text(), _groups(groups)]
    for holder in now.xmin_held_by:
        age = f" for {duration(holder.age_s)}" if holder.age_s is not None else ""
        parts.append(Text(f"xmin held by {holder.kind} {holder.name} {holder.detail}{age}"))
    parts += [_marked("away: ", said) for said in now.away.values()]
    problems = now.problems
    parts += [_marked("degraded: ", problem) for problem in problems[:_PROBLEMS]]
    if len(problems) > _PROBLEMS:
        parts.append(_marked("degraded: ", f"and {len(problems) - _PROBLEMS} more of these"))
    return Group(*parts)


def duration(seconds: float) -> str:
    """In the unit that says most with two or three figures."""
    if seconds < _TENTHS_BELOW_S:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} d"


def counted(events: int | None, *, exact: bool) -> str:
    """A number of events; ``~`` before an estimate."""
    if events is None:
        return "?"
    return f"{'' if exact else '~'}{events:,}"


def _way(now: Status) -> Table:
    way = Table.grid(padding=(0, 2))
    way.add_column(style="bold")
    if "postgresql" in now.away:
        way.add_row("backlog", "unknown: PostgreSQL is away")
        return way
    age = now.oldest_unpublished_s
    waiting = f", the oldest for {duration(age)}" if age is not None else ""
    # Counted from the checkpoints then, and these follow the streams.
    at_most = "at most " if "redis" in now.away else ""
    backlog = counted(now.backlog, exact=now.backlog_exact or bool(at_most))
    way.add_row("backlog", f"{at_most}{backlog} events{waiting}")
    last_tick = f", the last tick {now.last_tick}" if now.last_tick else ""
    way.add_row("committed", f"{now.committed_total:,} events in all{last_tick}")
    if len(now.streams) == 1:
        way.add_row("stream ends", now.streams[0].last or "before its first event")
    if now.publishers:
        way.add_row("publishers", _publishers(now.publishers))
    return way


def _publishers(publishers: PublishersStatus) -> str:
    led: dict[str, int] = {}
    for lease in publishers.leases:
        if lease.holder and lease.expires_in_s and lease.expires_in_s > 0:
            led[lease.holder] = led.get(lease.holder, 0) + 1
    if not led:
        return "none publishes"
    streams = len(publishers.leases)
    shares = [holder if streams == 1 else f"{holder} ({n})" for holder, n in led.items()]
    standing_by = max(publishers.members - len(led), 0)
    return ", ".join(shares[:_ROWS]) + (f"; {standing_by} standing by" if standing_by else "")


def _streams(streams: Sequence[StreamStatus]) -> RenderableType:
    table = _table("stream", "waiting", "entries", "memory", "of budget", "reaches back")
    for stream in sorted(streams, key=lambda stream: -(stream.backlog or 0))[:_ROWS]:
        table.add_row(
            Text(stream.key),
            counted(stream.backlog, exact=stream.backlog_exact),
            f"{stream.length or 0:,}",
            f"{(stream.memory_bytes or 0) / _MB:,.0f} MB",
            f"{(stream.entries_bytes or 0) / (stream.budget_bytes or 1):.0%}",
            _age(stream.first_s),
        )
    return _with_rest(table, len(streams))


def _groups(groups: Sequence[GroupStatus]) -> RenderableType:
    table = _table("group", "behind", "for", "pending", "for", "missed", "seen", "lasts")
    for group in sorted(groups, key=lambda group: -(group.behind or 0))[:_ROWS]:
        missed = (group.fell_off or 0) + group.gone
        table.add_row(
            Text(group.name),
            counted(group.behind, exact=group.behind_exact),
            _age(group.unread_s),
            f"{group.pending:,}",
            _age(group.unacknowledged_s),
            Text(counted(missed, exact=group.fell_off_exact), style="red") if missed else "-",
            _age(group.last_seen_s),
            _age(group.budget_left_h, _HOUR_S),
        )
    return _with_rest(table, len(groups))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        if number == 0:
            table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=12)
        else:
            table.add_column(column, no_wrap=True, justify="right")
    return table


def _with_rest(table: Table, rows: int) -> RenderableType:
    if rows <= _ROWS:
        return table
    return Group(table, Text(f"and {rows - _ROWS} more: --json (make: JSON=1) has all"))


def _age(figure: float | None, unit_s: float = 1.0) -> str:
    return duration(figure * unit_s) if figure is not None else "-"


def _marked(mark: str, said: str) -> Text:
    return Text.assemble((mark, "red"), said)
