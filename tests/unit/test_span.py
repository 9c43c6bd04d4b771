"""Positions as people give them."""

from __future__ import annotations

import pytest

from outbox.errors import BadPosition
from outbox.position import ORIGIN, Position
from publisher.audit.span import just_before, parse

NOW_MS = 1_795_347_471_648


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1795347471648-7", Position(1_795_347_471_648, 7)),
        ("90s", Position(NOW_MS - 90_000, 0)),
        ("30m", Position(NOW_MS - 1_800_000, 0)),
        ("2h", Position(NOW_MS - 7_200_000, 0)),
        ("7d", Position(NOW_MS - 604_800_000, 0)),
        ("999999999d", ORIGIN),
    ],
)
def test_a_position_or_how_long_ago(text: str, position: Position) -> None:
    assert parse(text, now_ms=NOW_MS) == position


@pytest.mark.parametrize("text", ["", "h", "-2h", "2 h", "2w", "1.5h", "1-", "yesterday", "٣h"])
def test_anything_else_is_refused_with_both_forms(text: str) -> None:
    with pytest.raises(BadPosition, match=r"neither a position such as .* nor a time such as"):
        parse(text, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("position", "before"),
    [
        (Position(5, 3), Position(5, 2)),
        (Position(5, 0), Position(4, 2**20 - 1)),
        (ORIGIN, ORIGIN),
    ],
)
def test_the_position_before(position: Position, before: Position) -> None:
    assert just_before(position) == before
