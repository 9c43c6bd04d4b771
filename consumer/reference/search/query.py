"""``query``: what the index answers, for people or for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from consumer.reference.search.answers import CLOSE, OPEN, search
from outbox.errors import CatalogStreamError
from process.console import Exit, notes, screen

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.reference.search.answers import Answer

_FOUND = "bold yellow"


def run(path: Path, asked: str, *, most: int, as_json: bool) -> int:
    """Show at most *most* answers, best first; the exit code."""
    try:
        answers = search(path, asked, most=most)
    except CatalogStreamError as exc:
        notes.print(str(exc), style="red", highlight=False, markup=False)
        return Exit.UNREACHABLE
    if as_json:
        print(json.dumps([_plain(answer) for answer in answers]))  # noqa: T201
    elif not answers:
        notes.print("Nothing was found.")
    else:
        for answer in answers:
            screen.print(_lines(answer), highlight=False, soft_wrap=True)
    return Exit.FINE


def _plain(answer: Answer) -> dict[str, object]:
    """Without the marks."""
    return {
        name: value.replace(OPEN, "").replace(CLOSE, "") if isinstance(value, str) else value
        for name, value in answer._asdict().items()
    }


def _lines(answer: Answer) -> Text:
    """The title and what it is part of; below it the category and a piece of the synopsis."""
    first = Text.assemble((f"{answer.kind:<8} ", "cyan"), _marked(answer.title))
    if answer.series:
        first.append("  in ", "dim").append_text(_marked(answer.series))
    first.append(f"  {answer.slug}", "dim")
    below = [_marked(text) for text in (answer.category, answer.synopsis) if text]
    return Text("\n").join([first, Text(" " * 9).append_text(Text(" · ").join(below))])


def _marked(text: str) -> Text:
    """*text* with what was found in it in a colour, and nothing that would move a cursor."""
    shown = Text()
    for part in text.split(OPEN):
        found, mark, rest = part.partition(CLOSE)
        if not mark:
            found, rest = "", found
        shown.append(_printable(found), _FOUND).append(_printable(rest))
    return shown


def _printable(text: str) -> str:
    spaced = "".join(" " if character.isspace() else character for character in text)
    return "".join(filter(str.isprintable, spaced))
