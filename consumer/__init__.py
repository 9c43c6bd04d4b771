"""Reads the streams: consumer groups that handle each event, in order per entity."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.consumer import EARLIEST, Consumer
    from consumer.errors import Reject, Retry
    from consumer.event import Event, Gap
    from consumer.keeping.applied import applied_before
    from consumer.keeping.checkpoint import FileCheckpoint, PostgresCheckpoint
    from consumer.keeping.inbox import Inbox
    from consumer.settings import AfterDeadLetter, Options
    from consumer.syncing.bootstrapping import SnapshotFirst, bootstrap
    from consumer.syncing.doorbell import Doorbell

# Each comes with its module when it is first asked for: who keeps files needs no asyncpg, and
# only who takes snapshots needs gRPC.
_HOME = {
    "applied_before": "keeping.applied",
    # In no module of that name: an imported module would take the place of the function.
    "bootstrap": "syncing.bootstrapping",
    "SnapshotFirst": "syncing.bootstrapping",
    "FileCheckpoint": "keeping.checkpoint",
    "PostgresCheckpoint": "keeping.checkpoint",
    "EARLIEST": "consumer",
    "Consumer": "consumer",
    "Doorbell": "syncing.doorbell",
    "Reject": "errors",
    "Retry": "errors",
    "Event": "event",
    "Gap": "event",
    "Inbox": "keeping.inbox",
    "AfterDeadLetter": "settings",
    "Options": "settings",
}

__all__ = [
    "EARLIEST",
    "AfterDeadLetter",
    "Consumer",
    "Doorbell",
    "Event",
    "FileCheckpoint",
    "Gap",
    "Inbox",
    "Options",
    "PostgresCheckpoint",
    "Reject",
    "Retry",
    "SnapshotFirst",
    "applied_before",
    "bootstrap",
]


def __getattr__(name: str) -> object:
    """One of the names above."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
