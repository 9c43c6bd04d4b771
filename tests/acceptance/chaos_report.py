"""What a run came to, as tables."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from chaos_faults import Deck
from processes import Publisher
from rich.console import Console
from rich.table import Table


def what_publishers_said(publishers: list[Publisher]) -> Counter[str]:
    """Their log events, and the reasons that they were held up for."""
    said: Counter[str] = Counter()
    for publisher in publishers:
        for text in publisher.text().splitlines():
            # Last words are sentences, or broken off.
            with suppress(ValueError):
                _count(json.loads(text), said)
    return said


def _count(line: dict[str, Any], said: Counter[str]) -> None:
    event = line["event"]
    if event == "publisher.held_up":
        event += f" {line['reason']}"
    elif event == "stream.lost":
        said["events lost and put back"] += line["events"]
    said[event] += 1


def show(title: str, figures: dict[str, str], decks: Sequence[Deck], said: Counter[str]) -> None:
    """Print it."""
    console = Console(width=100)
    faults = Table("fault", "struck", "missed", "seconds", title=title)
    for column in faults.columns[1:]:
        column.justify = "right"
    for deck in decks:
        for name, count in deck.struck.items():
            lasted = f"{deck.lasted_s[name]:,.0f}"
            faults.add_row(name, f"{count:,}", str(deck.missed[name] or ""), lasted)
        faults.add_section()
    console.print(faults)
    rest = Table("what", "count")
    rest.columns[1].justify = "right"
    for name, figure in figures.items():
        rest.add_row(name, figure)
    rest.add_section()
    for name, count in sorted(said.items()):
        rest.add_row(name, f"{count:,}")
    console.print(rest)
