"""Other people's tools: found, run, and what they say."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
_TIMEOUT_S = 120


class AbsentError(Exception):
    """A tool is not installed, so that nothing is checked with it."""


def library(name: str) -> Any:  # noqa: ANN401 - as it comes
    """A module of the extra `deploy`. Raises AbsentError."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise AbsentError(f"there is no {name} in this environment") from None


def program(name: str) -> str:
    """The path of a program, of this environment or of the system. Raises AbsentError."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise AbsentError(f"there is no {name} on the PATH")
    return found


def ran(*command: str | Path, also: Mapping[str, str] | None = None) -> str:
    """What the program printed; *also* is added to its environment. Raises CalledProcessError."""
    return subprocess.run(
        [program(str(command[0])), *map(str, command[1:])],
        cwd=ROOT,
        env={**os.environ, **(also or {})},
        check=True,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    ).stdout


def complaints(*command: str | Path) -> list[str]:
    """What the program has to complain of: nothing, if it ends with 0. Raises AbsentError."""
    try:
        ran(*command)
    except subprocess.CalledProcessError as exc:
        said = f"{exc.stdout}\n{exc.stderr}".strip()
        return [line for line in said.splitlines() if line.strip()] or [str(exc)]
    return []


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML file. Raises AbsentError."""
    yaml = library("yaml")
    # The one in C, where it is: ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for one in yaml.load_all(text, loader) if one is not None]
