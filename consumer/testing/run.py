"""Plays scenarios with a consumer, and says what came of them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consumer.testing import checks
from consumer.testing.checks import Kind, Violation
from consumer.testing.consumers import consumer_of
from consumer.testing.demands import Demands
from consumer.testing.opened import stage
from consumer.testing.report import Outcome, Report
from consumer.testing.scenarios import PLAYS, Scenario
from consumer.testing.stage import Broken, Stuck
from outbox.errors import CatalogStreamError

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.testing.consumers import AnyConsumer, Consumer
    from consumer.testing.stage import Stage


class LoopRuns(CatalogStreamError):
    """An event loop runs here: await scenarios.run(…), and call check() on its report."""


class Scenarios:
    """Plays them over *folder*, where logs and effects stay; *demands* unless a call says more."""

    def __init__(self, folder: Path, demands: Demands | None = None) -> None:
        self._folder = folder
        self._demands = demands or Demands()
        self._runs = 0

    def check(self, consumer: AnyConsumer, *names: str, **demands: Any) -> Report:  # noqa: ANN401
        """The scenarios *names*, or all, in an event loop of its own.

        Raises AssertionError that says what was broken; *demands* as of Demands.
        """
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise LoopRuns
        report = asyncio.run(self.run(consumer, *names, **demands))
        report.check()
        return report

    async def run(self, consumer: AnyConsumer, *names: str, **demands: Any) -> Report:  # noqa: ANN401
        """The scenarios *names*, or all; what came of each."""
        given, wanted = consumer_of(consumer), replace(self._demands, **demands)
        scenarios = [Scenario(name) for name in names] or list(Scenario)
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        at_once = asyncio.Semaphore(wanted.at_once)

        async def play(scenario: Scenario) -> Outcome:
            async with at_once:
                return await _played(scenario, given, wanted, folder / scenario)

        async with asyncio.TaskGroup() as playing:
            tasks = [playing.create_task(play(scenario)) for scenario in scenarios]
        return Report(str(given), tuple(task.result() for task in tasks))


async def _played(
    scenario: Scenario, consumer: Consumer, demands: Demands, folder: Path
) -> Outcome:
    started = time.monotonic()
    # Consumers that keep what they have done elsewhere are not to take one scenario for another.
    demands = replace(demands, seed=demands.seed * 100 + list(Scenario).index(scenario))
    async with stage(consumer, demands, folder) as playing:
        try:
            await PLAYS[scenario](playing)
        except Broken:
            pass
        except Stuck as stuck:
            playing.watch.violations += await _left_undone(playing, str(stuck))
        await playing.watch.look_at_group()
        await playing.watch.judge_all()
        account = await playing.watch.account()
        return Outcome(
            scenario,
            tuple(playing.watch.violations),
            published=len(account.published),
            effects=len(account.effects),
            duplicates=checks.duplicates(account.effects),
            restarts=playing.restarts,
            notes=tuple(playing.notes),
            took_s=time.monotonic() - started,
        )


async def _left_undone(playing: Stage, waited_for: str) -> list[Violation]:
    watch = playing.watch
    pending = (await watch.state_of_group()).pending
    undone = [*await watch.missing(), *checks.left_pending(sorted(pending), watch.group.name)]
    if not undone:
        text = f"nothing came within {playing.demands.within_s:g} s: {waited_for}"
        undone = [Violation(Kind.STUCK, text)]
    return undone
