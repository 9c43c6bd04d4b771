"""What the stream answers when it is not as the publisher thought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.errors import CatalogStreamError

if TYPE_CHECKING:
    from outbox.epochs import Identity
    from outbox.position import Position


class StreamBehind(CatalogStreamError):
    """The stream ends before the position that it had reached: it lost entries."""

    def __init__(self, top: Position) -> None:
        super().__init__(f"the stream ends at {top}: it lost entries")
        self.top = top


class StreamForeign(CatalogStreamError):
    """The stream goes on past events that it does not hold: somebody else wrote to it."""

    def __init__(self, top: Position) -> None:
        super().__init__(f"the stream goes on to {top} with entries that are not ours")
        self.top = top


class StreamFenced(CatalogStreamError):
    """Somebody with a later lease has appended to the stream."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the stream has been appended to under the later epoch {epoch}")
        self.epoch = epoch


class IdentityChanged(CatalogStreamError):
    """The database is not the cluster that published before."""

    def __init__(self, was: Identity, now: Identity) -> None:
        if not any(was):
            what = "the streams hold events of another database"
        elif was == now:
            what = "the streams hold events that the database does not know: is it an old copy?"
        else:
            what = (
                f"the database was cluster {was.system_identifier} on timeline {was.timeline}"
                f" and is {now.system_identifier} on timeline {now.timeline}: a restored copy?"
            )
        super().__init__(f"{what} If it is to be published from now on: make reanchor")


class ReplayRefused(CatalogStreamError):
    """Events cannot be written again from there, or into that stream."""


class BackfillRefused(CatalogStreamError):
    """Rows cannot be chosen in this way, or not by this user."""


class RowsLocked(CatalogStreamError):
    """A writer has one of the rows locked."""


class ServerUnfit(CatalogStreamError):
    """The Redis server would lose events or cannot take them."""


class PartitionsChanged(CatalogStreamError):
    """The streams were published with another number of partitions."""

    def __init__(self, was: int, now: int) -> None:
        super().__init__(
            f"the streams were published with {was} partitions, and"
            f" CATALOG_EVENT_STREAM_PARTITIONS is {now}: events would be lost between them."
            " How to change it: docs/operations.md, Partitions"
        )
