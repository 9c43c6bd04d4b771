"""What `make run` prints."""

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from embedded.events import Event, Summary

_COLOURS = {"create": "green", "update": "yellow", "delete": "red"}
_LONGEST_VALUE = 48


class Screen:
    """The terminal, or the file that stands for it."""

    def __init__(self, console: Console) -> None:
        """Print to *console*."""
        self._console = console

    def header(self, rows: Iterable[tuple[str, str, str]], suggestions: Iterable[str]) -> None:
        """Print the addresses (what, how to get there, where) and the commands to try."""
        self._console.print()
        for what, how, where in rows:
            # The address last and never cut: it is there to be copied.
            self._line(Text.assemble((f"  {what:<12}", "bold"), (f"{how:<16}", "cyan"), where))
        self._line(Text("\nTry in another terminal:", style="bold"))
        for suggestion in suggestions:
            self._line(Text(f"  {suggestion}", style="cyan"))
        self._line(Text("\nEvents appear below. Ctrl-C stops everything; the data stays.\n"))

    def event(self, event: Event) -> None:
        """Print one event on one line."""
        changes = ", ".join(f"{name}={_short(value)}" for name, value in event.changes.items())
        line = Text.assemble(
            (_ms(event.delay_ms), "dim"),
            "  ",
            (f"{event.operation:<6}", _COLOURS.get(event.operation, "magenta")),
            f"  {event.entity:<10}  ",
            (event.name, "bold"),
            f"  {changes}",
        )
        if self._console.is_terminal:
            self._console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)
        else:
            self._line(line)

    def summary(self, summary: Summary) -> None:
        """Print the counts of many events on one line."""
        counts = ", ".join(
            f"{entity} {operation} {count:,}"
            for (entity, operation), count in summary.counts.items()
        )
        total = sum(summary.counts.values())
        least, most = summary.delays_ms or (None, None)
        delays = "" if least is None else f"  (after {least:,.0f} to {most:,.0f} ms)"
        self._line(
            Text.assemble(
                (_ms(most), "dim"),
                "  ",
                (f"{total:,} {'event' if total == 1 else 'events'}", "bold"),
                f"  {counts}",
                (delays, "dim"),
            )
        )

    def note(self, text: str) -> None:
        """Print what is going on."""
        self._line(Text(text, style="dim"))

    def failure(self, text: str) -> None:
        """Print why it ends."""
        self._line(Text(text, style="red"))

    def _line(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def without_password(address: str) -> str:
    """*address* as it may stand on a screen."""
    password = urlsplit(address).password
    return address.replace(f":{password}@", ":***@", 1) if password else address


def _ms(delay_ms: float | None) -> str:
    return f"{'?' if delay_ms is None else format(delay_ms, ',.0f'):>7} ms"


def _short(value: object) -> str:
    if value is ...:
        return "…"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
