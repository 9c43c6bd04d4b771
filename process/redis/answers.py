"""What Redis says when it does not do as it was asked."""

from __future__ import annotations

import re

_WORD = re.compile(r"([A-Z]{2,}) (.*)", re.DOTALL)
# Redis before 7 wraps what happens inside of a script.
_WRAPPED = re.compile(
    r"(?:Error running script .*?)?@user_script: ?\d+: -?([A-Z]{2,}) (.*)", re.DOTALL
)
_NO_RIGHT_IN_SCRIPT = re.compile(r"ACL failure in script|can't run this command or subcommand")
_PLACE_IN_SCRIPT = re.compile(r" script: (?:\w+, )?on @user_script:\d+\.$")


def reason_of(exc: Exception) -> str:
    """The word that names the answer, such as OOM, READONLY or NOPERM."""
    return _taken_apart(exc)[0]


def answer_of(exc: Exception) -> str:
    """The whole answer, its first word included, without the noise around it."""
    word, text = _taken_apart(exc)
    return f"{word} {text}"


def _taken_apart(exc: Exception) -> tuple[str, str]:
    # redis-py takes the first word off most answers and keeps it beside the message.
    word, text = getattr(exc, "status_code", None), str(exc)
    if not word:
        found = _WORD.fullmatch(text)
        word, text = found.groups() if found else ("ERR", text)
    if word == "ERR" and (wrapped := _WRAPPED.fullmatch(text)):
        word, text = wrapped.groups()
    if word == "ERR" and _NO_RIGHT_IN_SCRIPT.search(text):
        word = "NOPERM"
    return word, _PLACE_IN_SCRIPT.sub("", text)
