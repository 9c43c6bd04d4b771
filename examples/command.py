"""What both command lines share: from titles to rows, a summary and an exit code."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from enum import IntEnum

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from examples.errors import ImportFailed
from examples.load import Outcome, Written, connected, load
from examples.plan import Title
from examples.settings import Settings, read_settings
from examples.title_list import Skipped

_NAMES = {
    "category": "categories",
    "series": "series",
    "season": "seasons",
    "episode": "episodes",
    "media_asset": "media assets",
    "variant": "variants",
}


class Exit(IntEnum):
    """Exit codes; 2, bad usage, is typer's."""

    DONE = 0
    REFUSED = 1
    UNAVAILABLE = 4
    INTERRUPTED = 130


class Screen:
    """The progress and what goes wrong on stderr, the summary on stdout."""

    def __init__(self) -> None:
        """Take both as they are now."""
        self._out = Console(highlight=False, soft_wrap=True, emoji=False)
        self._err = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)

    def progress(self) -> Progress:
        """A bar that counts titles; nothing where nobody watches."""
        return Progress(
            TextColumn("Importing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("titles"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._err,
            disable=not self._err.is_terminal,
        )

    def failure(self, text: str) -> None:
        """Say why it ends."""
        self._err.print(f"[red]{escape(text)}[/red]")

    def skipped(self, lines: Sequence[Skipped]) -> None:
        """Say which lines were left out, and why."""
        for skipped in lines:
            self._err.print(f"[yellow]line {skipped.line}[/yellow]: {escape(skipped.reason)}")

    def summary(self, written: Written, titles: int, skipped: int, took_s: float) -> None:
        """Say what was done."""
        self._out.print(f"{'':<14}{'created':>9}{'changed':>9}{'unchanged':>11}")
        for table, name in _NAMES.items():
            created, changed, unchanged = (written.rows[table, outcome] for outcome in Outcome)
            self._out.print(f"{name:<14}{created:>9,}{changed:>9,}{unchanged:>11,}")
        loaded = written.titles - len(written.skipped)
        lines = "line" if skipped == 1 else "lines"
        self._out.print(
            f"{loaded:,} of {titles:,} titles in {took_s:.1f} s, {skipped:,} {lines} skipped"
        )


def run(titles: Sequence[Title], skipped: Sequence[Skipped] = ()) -> Exit:
    """Write *titles* to the database that the environment names, and tell about it."""
    screen, started, done = Screen(), time.monotonic(), [Written()]
    try:
        settings = read_settings(os.environ)
        screen.skipped(skipped)
        with screen.progress() as progress:
            task = progress.add_task("", total=len(titles))

            def observe(written: Written) -> None:
                done.append(written)
                progress.advance(task, written.titles)

            asyncio.run(_load(settings, titles, observe))
        code = Exit.DONE
    except ImportFailed as failure:
        screen.failure(str(failure))
        code = Exit.UNAVAILABLE
    except KeyboardInterrupt:
        screen.failure("Interrupted. What is counted here is written; run it again for the rest.")
        code = Exit.INTERRUPTED
    written = sum(done, Written())
    screen.skipped(written.skipped)
    if code != Exit.UNAVAILABLE or written.titles:
        screen.summary(
            written, len(titles), len(skipped) + len(written.skipped), time.monotonic() - started
        )
    return code


async def _load(
    settings: Settings, titles: Sequence[Title], observe: Callable[[Written], None]
) -> None:
    async with connected(settings.database_url) as connection:
        await load(connection, titles, settings.cdn_base_url, observe=observe)
