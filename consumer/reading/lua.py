"""The scripts beside the modules. They are short, so they travel with each call."""

from __future__ import annotations

from importlib import resources


def load(name: str, package: str = "consumer.reading") -> str:
    """The text of ``<name>.lua`` in *package*."""
    return resources.files(package).joinpath(f"{name}.lua").read_text("utf-8")
