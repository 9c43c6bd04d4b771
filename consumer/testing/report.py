"""What came of the scenarios: for programs, and as a table for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from consumer.testing.checks import Violation

_SHOWN = 8


@dataclass(frozen=True)
class Outcome:
    """Of one scenario."""

    scenario: str
    violations: tuple[Violation, ...]
    published: int
    effects: int
    duplicates: int
    """Effects that were not the first of their event; allowed, as far as there was reason."""
    restarts: int
    """How often a member ended by itself and was started again."""
    notes: tuple[str, ...]
    """What could not be tried as meant."""
    took_s: float

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


@dataclass(frozen=True)
class Report:
    """Of a run of scenarios with one consumer."""

    consumer: str
    outcomes: tuple[Outcome, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every scenario was passed."""
        return all(outcome.passed for outcome in self.outcomes)

    def check(self) -> None:
        """Raise AssertionError with all that was broken, in words."""
        assert self.passed, f"\n{self}"  # noqa: S101 - pytest shows it as its own

    def __getitem__(self, scenario: str) -> Outcome:
        """The outcome of *scenario*. Raises KeyError."""
        for outcome in self.outcomes:
            if outcome.scenario == scenario:
                return outcome
        raise KeyError(scenario)

    def __str__(self) -> str:
        """All that was broken, scenario by scenario."""
        lines = [f"{self.consumer}:"]
        for outcome in self.outcomes:
            lines.append(f"  {outcome.scenario}: {'passed' if outcome.passed else 'FAILED'}")
            lines += [f"    {violation}" for violation in outcome.violations[:_SHOWN]]
            if (more := len(outcome.violations) - _SHOWN) > 0:
                lines.append(f"    and {more:,} more")
            lines += [f"    note: {note}" for note in outcome.notes]
        return "\n".join(lines)

    def table(self) -> Table:
        """For a terminal."""
        table = Table(
            *("scenario", "result", "events", "effects", "duplicates", "restarts", "seconds"),
            title=self.consumer,
        )
        table.columns[0].no_wrap = True
        for column in table.columns[2:]:
            column.justify = "right"
        for outcome in self.outcomes:
            table.add_row(
                outcome.scenario,
                "[green]passed" if outcome.passed else f"[red]{outcome.violations[0].kind}",
                f"{outcome.published:,}",
                f"{outcome.effects:,}",
                f"{outcome.duplicates:,}",
                f"{outcome.restarts:,}",
                f"{outcome.took_s:.1f}",
            )
        return table
