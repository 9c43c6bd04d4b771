"""A cursor survives the way through text, and whatever else is refused."""

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.errors import BadPosition
from outbox.position import Position
from snapshot_server.content.cursor import BEGINNING, Cursor, event_position, position_of
from snapshot_server.errors import CursorMalformed

ORDINALS = st.integers(0, 2**31 - 1)


@st.composite
def paging_cursors(draw: st.DrawFn) -> Cursor:
    seen = draw(st.integers(0, 2**63 - 1))
    start, version = draw(st.integers(0, seen)), draw(st.integers(0, seen))
    return Cursor(start, seen, version, draw(ORDINALS))


@given(paging_cursors())
def test_a_paging_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@given(paging_cursors())
def test_a_paging_cursor_is_never_an_event_id(cursor: Cursor) -> None:
    with pytest.raises(BadPosition):
        Position.parse(str(cursor))


@given(st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))
def test_any_event_id_of_ours_is_a_cursor_behind_all_that_the_event_touched(
    ms: int, seq: int
) -> None:
    cursor = Cursor.parse(f"{ms}-{seq}")
    version = Position(ms, seq).version
    assert cursor == Cursor(version, version, version, 2**31 - 1)
    assert position_of(version) == Position(ms, seq)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1795347471648",
        "1795347471648-",
        "-1",
        "1795347471648-0 ",
        "1795347471648-1048576",
        f"{2**43}-0",
        f"{2**64 - 1}-{2**64 - 1}",
        "\u0661-\u0660",
        "1" * 201,
        "p1.",
        "p1.A",
        "p1." + "A" * 43,
        "p1." + "A" * 198,
        "p2." + str(Cursor(1, 1, 1, 1))[3:],
        str(Cursor(1, 1, 1, 1)) + "=",
        str(Cursor(1, 1, 1, 1)) + "\n",
        " " + str(Cursor(1, 1, 1, 1)),
        str(Cursor(1, 1, 1, 1))[:-1],
        # Of itself it cannot be: it has seen less than it has read.
        str(Cursor(2, 1, 1, 1)),
        str(Cursor(1, 1, 2, 1)),
        str(Cursor(1, 2**63, 1, 1)),
        str(Cursor(1, 1, 1, 2**31)),
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(CursorMalformed):
        Cursor.parse(text)


@given(paging_cursors(), st.integers(0, 42), st.characters(min_codepoint=33, max_codepoint=126))
def test_one_wrong_character_is_noticed(cursor: Cursor, place: int, wrong: str) -> None:
    text = str(cursor)
    spoilt = text[: 3 + place] + wrong + text[4 + place :]
    if spoilt != text:
        with pytest.raises(CursorMalformed):
            Cursor.parse(spoilt)


@given(st.text(max_size=300) | st.from_regex(r"p1\.[A-Za-z0-9_=-]{0,60}"))
def test_any_text_is_a_cursor_or_malformed(text: str) -> None:
    try:
        Cursor.parse(text)
    except CursorMalformed:
        pass
    else:
        assert text.isascii()


def test_a_thousand_random_byte_strings_are_malformed() -> None:
    dice = random.Random(4)  # noqa: S311 - not a secret
    for _ in range(1000):
        noise = dice.randbytes(dice.randrange(64))
        for text in (
            noise.decode("latin-1"),
            "p1." + base64.urlsafe_b64encode(noise).decode().rstrip("="),
        ):
            with pytest.raises(CursorMalformed):
                Cursor.parse(text)


def test_at_least_is_an_event_id_and_no_paging_cursor() -> None:
    assert event_position("5-1") == Position(5, 1)
    with pytest.raises(CursorMalformed):
        event_position(str(Cursor(1, 1, 1, 1)))


def test_a_full_sync_remembers_where_it_began_and_when_it_was_last_read_to() -> None:
    first = BEGINNING.moved(seen=90, version=10, ordinal=3)
    second = first.moved(seen=95, version=92, ordinal=0)
    assert first == Cursor(90, 90, 10, 3)
    assert second == Cursor(90, 95, 92, 0)
    assert [cursor.is_full for cursor in (BEGINNING, first, second)] == [True, True, False]


@pytest.mark.parametrize(
    ("cursor", "version"),
    [
        (BEGINNING, 0),
        (Cursor.after(Position(0, 7)), 7),
        # It began with nothing at 90: of earlier removals it needs none.
        (Cursor(90, 95, 10, 3), 90),
        # It may have read a part of what the event at 94 removed.
        (Cursor(90, 95, 94, 3), 93),
        (Cursor(90, 95, 91, 3), 90),
    ],
)
def test_removals_are_needed_from_where_the_client_has_read_all(
    cursor: Cursor, version: int
) -> None:
    assert cursor.removals_after == version
