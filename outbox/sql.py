"""Statements by name, out of a ``.sql`` file beside the module that runs them."""

from __future__ import annotations

import re
from importlib import resources

_STATEMENT = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def load(package: str, file: str = "queries.sql") -> dict[str, str]:
    """Each ``-- name: …`` of *file* in *package* with the statement below it."""
    text = resources.files(package).joinpath(file).read_text("utf-8")
    return {name: statement.strip().rstrip(";") for name, statement in _STATEMENT.findall(text)}
