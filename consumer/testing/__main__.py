"""``python -m consumer.testing -- <command>``: all scenarios with a consumer in any language."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumer.testing.consumers import GROUP, Command
from consumer.testing.demands import Demands
from consumer.testing.run import Scenarios
from consumer.testing.scenarios import Scenario  # noqa: TC001 - typer reads it

_WIDTH = 100
"""Of a log."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(  # noqa: PLR0913
    command: Annotated[list[str], typer.Argument(help="The consumer; it stands after --.")],
    *,
    only: Annotated[list[Scenario] | None, typer.Option(help="These scenarios.")] = None,
    group: Annotated[str, typer.Option(help="The group that it reads as.")] = GROUP,
    within_s: Annotated[float, typer.Option(help="Longer than its idle limit.")] = 20.0,
    slow_s: Annotated[float, typer.Option(help="How long a slow handler takes.")] = 1.0,
    redis_server: Annotated[Path | None, typer.Option(help="The redis-server to use.")] = None,
) -> None:
    """Play scenarios with a consumer that is a command; 1 if it breaks a promise."""
    demands = Demands(within_s=within_s, slow_s=slow_s, redis_server=redis_server)
    with tempfile.TemporaryDirectory(prefix="consumer-") as folder:
        scenarios = Scenarios(Path(folder), demands)
        report = asyncio.run(scenarios.run(Command(command, group=group), *(only or ())))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(report.table())
    if not report.passed or any(outcome.notes for outcome in report.outcomes):
        console.print(str(report), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(not report.passed)


if __name__ == "__main__":
    app(prog_name="python -m consumer.testing")
