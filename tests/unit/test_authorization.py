"""Tokens: which header is admitted, and which list of tokens is refused at the start."""

import pytest

from process.tokens import Tokens

OURS = "current-Token_1,next/Token+2=="


@pytest.mark.parametrize(
    "header",
    [
        *["Bearer current-Token_1", "bearer current-Token_1", "BEARER next/Token+2=="],
        *["current-Token_1", "next/Token+2==", "Bearer   current-Token_1"],
    ],
)
def test_any_token_of_ours_is_admitted_with_its_scheme_or_bare(header: str) -> None:
    assert Tokens.parse(OURS).admit([header])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Bearer current-Token_1", "Bearer current-Token_1"],
        ["Bearer current-Token_1", "Bearer wrong"],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer wrong"],
        ["Bearer CURRENT-TOKEN_1"],
        ["Bearer current-Token_1 next/Token+2=="],
        ["Basic current-Token_1"],
        ["Bearer Bearer current-Token_1"],
        [OURS],
        ["Bearer current-Token_"],
        ["Bearer current-Token_1\x00"],
        ["Bearer \u00fcber"],
        ["\udce4"],
        ["x" * 100_000],
    ],
)
def test_anything_else_is_not_admitted(headers: list[str]) -> None:
    assert not Tokens.parse(OURS).admit(headers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its token is empty"),
        ("one,", "token 2 of 2 is empty"),
        (",one", "token 1 of 2 is empty"),
        ("one,,three", "token 2 of 3 is empty"),
        ("one, secret", "token 2 of 2 has a space, or something else than printable ASCII"),
        ("Bearer secret", "its token has a space, or something else than printable ASCII"),
        ("s\u00e9cret", "its token has a space, or something else than printable ASCII"),
        ("secret\n", "its token has a space, or something else than printable ASCII"),
    ],
)
def test_a_list_with_a_token_that_nobody_can_send_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Tokens.parse(text)
    assert str(refused.value) == said


def test_a_token_cannot_be_read_back_from_what_is_kept() -> None:
    kept = repr(Tokens.parse(OURS))
    assert not any(token in kept for token in OURS.split(","))
