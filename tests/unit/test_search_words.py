"""What somebody types, as FTS5 takes it."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.reference.search.words import expression


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("bread", '"bread" *'),
        ("Bread for", '"Bread" * AND "for" *'),
        ("café", '"café" *'),
        ("cafe\N{COMBINING ACUTE ACCENT}", '"café" *'),
        ("s01_e02", '"s01" * AND "e02" *'),
        ("don't", '"don" * AND "t" *'),
        ("NOT title:x OR", '"NOT" * AND "title" * AND "x" * AND "OR" *'),
        ("пекарня 寿司", '"пекарня" * AND "寿司" *'),
        ("", None),
        ('"*"', None),
        ("\0", None),
    ],
)
def test_every_word_is_the_beginning_of_one_and_nothing_else(
    asked: str, wanted: str | None
) -> None:
    assert expression(asked) == wanted


@given(asked=st.text() | st.text("\"*():^-+{}\\\0'NEARORAND t1", max_size=60))
def test_nothing_that_is_typed_is_a_syntax_error(asked: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE VIRTUAL TABLE words USING fts5 (title, prefix = '2 3')")
        wanted = expression(asked)
        if wanted is not None:
            database.execute("SELECT * FROM words WHERE words MATCH ?", (wanted,)).fetchall()


def test_a_very_long_question_is_cut() -> None:
    assert str(expression("a " * 10_000)).count('"a"') == 16
