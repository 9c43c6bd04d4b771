"""What a run came to, as tables."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chaos_faults import Deck
from processes import Publisher
from rich.console import Console
from rich.table import Table


@dataclass
class Tally:
    """What was counted, in one run or in several."""

    title: str
    struck: dict[str, int] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    lasted_s: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """By publishers: their log events, and the reasons that they were held up for."""
    recoveries_s: list[float] = field(default_factory=list)
    """How long after each storm everything was published."""
    took_s: float = 0.0

    def add_deck(self, deck: Deck) -> None:
        for name, count in deck.struck.items():
            self.struck[name] = self.struck.get(name, 0) + count
        self.missed.update(deck.missed)
        self.lasted_s.update({name: round(seconds) for name, seconds in deck.lasted_s.items()})

    def add_words(self, publishers: Iterable[Publisher]) -> None:
        for publisher in publishers:
            for text in publisher.text().splitlines():
                # Last words are sentences, or broken off.
                with suppress(ValueError):
                    self._add_line(json.loads(text))

    def add(self, other: "Tally") -> None:
        for name, count in other.struck.items():
            self.struck[name] = self.struck.get(name, 0) + count
        for mine, others in (
            (self.missed, other.missed),
            (self.lasted_s, other.lasted_s),
            (self.counts, other.counts),
            (self.said, other.said),
        ):
            mine.update(others)
        self.recoveries_s += other.recoveries_s
        self.took_s += other.took_s

    def show(self) -> None:
        """Print it."""
        console = Console(width=100)
        faults = Table("fault", "struck", "missed", "seconds", title=self.title)
        for column in faults.columns[1:]:
            column.justify = "right"
        for name, count in self.struck.items():
            missed, lasted_s = self.missed[name] or "", f"{self.lasted_s[name]:,}"
            faults.add_row(name, f"{count:,}", str(missed), lasted_s)
        console.print(faults)
        rest = Table("what", "count")
        rest.columns[1].justify = "right"
        for name, count in sorted(self.counts.items()):
            rest.add_row(name, f"{count:,}")
        rest.add_row("events a second", f"{self.counts['events committed'] / self.took_s:,.0f}")
        median_s, most_s = statistics.median(self.recoveries_s), max(self.recoveries_s)
        rest.add_row("all published after a storm, s", f"median {median_s:.1f}, most {most_s:.1f}")
        rest.add_section()
        for name, count in sorted(self.said.items()):
            rest.add_row(name, f"{count:,}")
        console.print(rest)

    def _add_line(self, line: dict[str, Any]) -> None:
        event = line["event"]
        if event == "publisher.held_up":
            event += f" {line['reason']}"
        elif event == "stream.lost":
            self.said["events lost and put back"] += line["events"]
        self.said[event] += 1
