"""``python -m deploy.checks``: 0 if nothing is wrong with what could be checked, else 1."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console

from deploy.checks import files, manifests, names
from deploy.checks.tools import AbsentError

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS: Final[dict[str, Callable[[], list[str]]]] = {
    "Compose file": files.compose,
    "Dockerfile": files.dockerfile,
    "scripts": files.scripts,
    "Prometheus": files.prometheus,
    "Envoy bootstrap": files.envoy,
    "manifests": manifests.manifests,
    "names of variables": names.variables,
    "secret files": names.files,
    "metrics that scale": names.queries,
    "folders of the image": names.copied,
    "generated files": names.listed,
}


def main() -> int:
    """Say of each whether it holds, what is wrong with it, or that nobody looked."""
    screen, failed = Console(highlight=False, soft_wrap=True), False
    for name, check in CHECKS.items():
        began = time.monotonic()
        try:
            found = check()
        except AbsentError as exc:
            screen.print(f"[bold yellow]NOT CHECKED[/]  {name}: ", end="")
            screen.print(str(exc), markup=False)
            continue
        failed = failed or bool(found)
        word = "[red]wrong[/]" if found else "[green]fine[/] "
        screen.print(f"{word}        {name}, {time.monotonic() - began:.1f} s")
        for complaint in found:
            screen.print(f"             {complaint}", markup=False)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
