"""What a client of the content service runs into, beside the cursors that it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapshot_server.errors import SnapshotError

if TYPE_CHECKING:
    from snapshot_server.client.tally import Totals


class StreamCut(SnapshotError):
    """The stream ended without its last chunk."""


class SyncUnavailable(SnapshotError):
    """The content service could not be reached, or broke off again and again."""

    def __init__(self, sentence: str = "", *, cursor: str | None = None) -> None:
        super().__init__(*filter(None, [sentence]))
        self.cursor = cursor
        """From where a later call can go on; None: from the beginning."""


class SyncTimedOut(SyncUnavailable):
    """The sync's own deadline came before its last chunk."""


class SyncRefused(SnapshotError):
    """The content service will not do it, however often it is asked."""


class Unauthenticated(SyncRefused):
    """The content service does not know the token: look at SERVICE_AUTH_TOKEN."""


class ServerUntrusted(SyncRefused):
    """The certificate of the content service is not one that the client trusts."""


class SummaryMismatch(SnapshotError):
    """What the client holds is not what the service says it must hold."""

    def __init__(self, position: str, expected: Totals, held: Totals) -> None:
        differing = ", ".join(
            f"{name} {mine} instead of {theirs}"
            for name, theirs, mine in zip(expected._fields, expected, held, strict=True)
            if theirs != mine
        )
        super().__init__(f"at {position} the client holds {differing}")
        self.position = position
        self.expected = expected
        self.held = held
