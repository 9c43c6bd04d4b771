"""The status stays on one screen: eighty columns, twenty-four lines, whatever the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from publisher.commands.overview import duration, overview
from publisher.survey.group_status import GroupStatus
from publisher.survey.status import LeaseStatus, PublishersStatus, Status, StreamStatus

WIDTH, HEIGHT = 80, 24


def group(name: str, **figures: float) -> GroupStatus:
    return GroupStatus(
        name=name,
        last_delivered="1795347471008-1048575",
        unread_s=100_000.0,
        pending=12_345,
        unacknowledged_s=5_000.0,
        gone=0,
        consumers=12,
        last_seen_s=0.25,
        behind=int(figures.get("behind", 12_345_678)),
        behind_exact=True,
        fell_off=int(figures.get("fell_off", 0)),
        fell_off_exact=True,
        budget_left_h=figures.get("budget_left_h", 5.5),
    )


def stream(number: int, groups: list[GroupStatus]) -> StreamStatus:
    return StreamStatus(
        f"catalog:events:{{{number}}}",
        checkpoint="1795347471008-1048575",
        backlog=1_234_567,
        backlog_exact=False,
        length=12_345_678,
        first="1795347471008-0",
        first_s=84_600.0,
        last="1795347471008-1048575",
        memory_bytes=1 << 30,
        entries_bytes=1 << 30,
        budget_bytes=1 << 30,
        entries_per_s=1000.0,
        groups=groups,
    )


def lease(number: int) -> LeaseStatus:
    holder = f"host-{number % 2}-123-a1b2c3"
    return LeaseStatus(f"catalog:events:{{{number}}}", holder, 3, 2.5, None, None)


def status(partitions: int, groups: int) -> Status:
    return Status(
        {},
        backlog=123_456_789,
        backlog_exact=True,
        oldest_unpublished_s=12.0,
        last_tick="1795347471008",
        committed_total=9_123_456_789,
        streams=[
            stream(number, [group(f"service-number-{one}") for one in range(groups)])
            for number in range(partitions)
        ],
        publishers=PublishersStatus(2, [lease(at) for at in range(partitions)], None, None, 0),
    )


def shown(now: Status) -> list[str]:
    console = Console(width=WIDTH, force_terminal=False)
    with console.capture() as capture:
        console.print(overview(now))
    return capture.get().splitlines()


@pytest.mark.parametrize(("partitions", "groups"), [(1, 0), (1, 1), (1, 5), (4, 5), (64, 30)])
def test_it_fits_on_one_screen(partitions: int, groups: int) -> None:
    lines = shown(status(partitions, groups))
    assert len(lines) < HEIGHT
    assert max(len(line) for line in lines) <= WIDTH
    assert not [line for line in lines if "…" in line]


def test_what_does_not_fit_is_said_to_be_elsewhere() -> None:
    lines = shown(status(64, 30))
    assert [line.split(":")[0] for line in lines if "more" in line] == [
        "and 58 more",
        "and 24 more",
    ]


def test_also_with_everything_wrong_in_every_group() -> None:
    now = status(4, 0)
    streams = [
        stream(at, [group(f"service-{one}", fell_off=9) for one in range(5)]) for at in range(4)
    ]
    lines = shown(replace(now, oldest_unpublished_s=99.0, streams=streams))
    assert len(lines) < HEIGHT
    assert "group service-0 has missed 36 events" in " ".join(lines)
    assert "and 3 more of these" in lines[-1]


def test_a_group_of_several_partitions_is_one_line() -> None:
    [line] = [line for line in shown(status(4, 1)) if "service-number-0" in line]
    assert f"{4 * 12_345_678:,}" in line
    assert f"{4 * 12_345:,}" in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (172_799, "48.0 h"),
        (172_800, "2.0 d"),
    ],
)
def test_a_duration_has_two_or_three_figures(seconds: float, text: str) -> None:
    assert duration(seconds) == text
