"""The consumer-group harness: what any consumer of the stream goes through before it is trusted.

A pytest plugin (`consumer.testing.plugin`), a command (``python -m consumer.testing``), and a
library: `Scenarios(folder).check(consumer)`.
"""

from consumer.testing.consumers import Command, Context, Coroutine
from consumer.testing.demands import Demands
from consumer.testing.publisher import ScriptedPublisher
from consumer.testing.report import Outcome, Report
from consumer.testing.run import Scenarios
from consumer.testing.scenarios import Scenario

__all__ = [
    "Command",
    "Context",
    "Coroutine",
    "Demands",
    "Outcome",
    "Report",
    "Scenario",
    "Scenarios",
    "ScriptedPublisher",
]
