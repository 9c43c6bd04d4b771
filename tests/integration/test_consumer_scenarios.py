"""The harness: who is right passes, and each wrong consumer fails where it must."""

import asyncio
from pathlib import Path

import pytest
from own_consumer import OWN_COMMAND, own_consumer
from wrong_consumers import ByHand, Flaw

from consumer.testing import Context, Coroutine, Report, Scenario, Scenarios
from consumer.testing.checks import Kind
from consumer.testing.run import LoopRuns

_NEEDS_TURNS = {Scenario.SLOW_HANDLER, Scenario.MEMBERS_COME_AND_GO}
"""Several members at a time: a loop by hand cannot keep the order then."""

_PROCESS_MATTERS = [
    *(Scenario.KILLED_BEFORE_THE_ACK, Scenario.KILLED_BEFORE_THE_EFFECT),
    *(Scenario.KILLED_IN_MID_BATCH, Scenario.SLOW_HANDLER, Scenario.MEMBERS_COME_AND_GO),
    *(Scenario.ACK_LOST, Scenario.REDIS_LOST),
]
_NEVER_COMES = {Kind.LEFT_PENDING: 4.0, Kind.LOST: 4.0}
"""What can only be waited for in vain."""

_WRONG = [
    (Flaw.ACKNOWLEDGES_FIRST, Scenario.STEADY, Kind.ACKNOWLEDGED_WITHOUT_EFFECT),
    (Flaw.READS_WITHOUT_ACK, Scenario.KILLED_BEFORE_THE_EFFECT, Kind.ACKNOWLEDGED_WITHOUT_EFFECT),
    (Flaw.STARTS_AT_THE_END, Scenario.STEADY, Kind.ACKNOWLEDGED_WITHOUT_EFFECT),
    (Flaw.CONCURRENT, Scenario.STEADY, Kind.OUT_OF_ORDER),
    (Flaw.NEVER_ACKNOWLEDGES, Scenario.STEADY, Kind.LEFT_PENDING),
    (Flaw.FORGETS_ITS_PENDING, Scenario.KILLED_BEFORE_THE_ACK, Kind.LEFT_PENDING),
    (Flaw.STARTS_OVER, Scenario.KILLED_BEFORE_THE_ACK, Kind.TOO_OFTEN),
    (Flaw.NEVER_CLAIMS, Scenario.KILLED_BEFORE_THE_EFFECT, Kind.LOST),
    (Flaw.NEW_BEFORE_CLAIMED, Scenario.KILLED_BEFORE_THE_EFFECT, Kind.OUT_OF_ORDER),
    (Flaw.FORGETS_ITS_PENDING, Scenario.KILLED_IN_MID_BATCH, Kind.LOST),
    (Flaw.CLAIMS_WHAT_IS_UNDER_WAY, Scenario.SLOW_HANDLER, Kind.TOO_OFTEN),
    (Flaw.LEAVES_WITH_AN_ERROR, Scenario.MEMBERS_COME_AND_GO, Kind.ENDED),
    (Flaw.LEAVES_LOST_ACKS, Scenario.ACK_LOST, Kind.LEFT_PENDING),
    (Flaw.CHOKES_ON_WHAT_IS_GONE, Scenario.TRIMMED, Kind.ENDED),
    (Flaw.IGNORES_NOGROUP, Scenario.REDIS_LOST, Kind.LOST),
    (Flaw.GOES_ON_AT_THE_END, Scenario.REDIS_LOST, Kind.ACKNOWLEDGED_WITHOUT_EFFECT),
    (Flaw.BELIEVES_TIMESTAMPS, Scenario.CLOCK_JUMP, Kind.ACKNOWLEDGED_WITHOUT_EFFECT),
]


def by_hand(flaw: Flaw) -> Coroutine:
    async def consumer(context: Context) -> None:
        await ByHand(context, flaw).run()

    return Coroutine(consumer)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Flaw, Scenario], Report]:
    """Of each wrong consumer in its scenario; all at once, because most of it is waiting."""
    folder = tmp_path_factory.mktemp("wrong")

    async def run() -> list[Report]:
        return await asyncio.gather(
            *(
                Scenarios(folder / f"{flaw}-{scenario}").run(
                    by_hand(flaw), scenario, within_s=_NEVER_COMES.get(kind, 20.0), slow_s=0.3
                )
                for flaw, scenario, kind in _WRONG
            )
        )

    wrong = [(flaw, scenario) for flaw, scenario, _ in _WRONG]
    return dict(zip(wrong, asyncio.run(run()), strict=True))


@pytest.mark.parametrize(("flaw", "scenario", "kind"), _WRONG, ids=str)
def test_a_wrong_consumer_fails_its_scenario(
    reports: dict[tuple[Flaw, Scenario], Report], flaw: Flaw, scenario: Scenario, kind: Kind
) -> None:
    report = reports[flaw, scenario]

    assert kind in {violation.kind for violation in report[scenario].violations}, str(report)
    with pytest.raises(AssertionError, match=kind):
        report.check()


def test_an_acknowledgement_is_looked_at_before_redis_sees_it(
    reports: dict[tuple[Flaw, Scenario], Report],
) -> None:
    assert "is being acknowledged" in str(reports[Flaw.ACKNOWLEDGES_FIRST, Scenario.STEADY])


async def test_a_loop_by_hand_passes_where_one_member_is_enough(tmp_path: Path) -> None:
    names = [scenario for scenario in Scenario if scenario not in _NEEDS_TURNS]
    report = await Scenarios(tmp_path).run(by_hand(Flaw.NOTHING), *names, at_once=len(names))
    report.check()
    assert [outcome.notes for outcome in report.outcomes] == [()] * len(names)


async def test_our_own_consumer_passes_every_scenario_as_a_coroutine(tmp_path: Path) -> None:
    report = await Scenarios(tmp_path).run(own_consumer, at_once=4, slow_s=1.5)
    report.check()
    assert [outcome.scenario for outcome in report.outcomes] == list(Scenario)
    assert not any(outcome.notes or outcome.restarts for outcome in report.outcomes)


def test_our_own_consumer_passes_as_a_command_wherever_that_differs(tmp_path: Path) -> None:
    report = Scenarios(tmp_path).check(OWN_COMMAND, *_PROCESS_MATTERS, at_once=4, slow_s=1.5)
    assert not any(outcome.notes or outcome.restarts for outcome in report.outcomes)


async def test_a_coroutine_is_told_to_wait_for_the_scenarios(tmp_path: Path) -> None:
    with pytest.raises(LoopRuns):
        Scenarios(tmp_path).check(own_consumer)
