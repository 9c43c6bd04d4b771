"""Chunks, as bytes: the stored items, and what is said beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from content_proto import content_pb2 as pb
from snapshot_server.content.cursor import position_of

if TYPE_CHECKING:
    from snapshot_server.content.pages import Page


def chunk_of(page: Page) -> list[bytes]:
    """The encoded CatalogSnapshotChunk, in pieces: its items, and the rest.

    Fields of a message may stand in any order, so nothing is rebuilt.
    """
    said = pb.CatalogSnapshotChunk(
        removed=[
            pb.RemovedItem(
                kind=removal.kind,
                id=str(removal.id),
                version=removal.version,
                event_id=str(position_of(removal.version)),
            )
            for removal in page.removed
        ]
    )
    if page.is_last:
        state = page.state
        said.position = str(position_of(state.version))
        said.summary.CopyFrom(
            pb.CatalogSummary(series=state.series, episodes=state.episodes, digest=state.digest)
        )
    else:
        said.next_cursor = str(page.cursor)
    return [*page.bodies, said.SerializeToString()]
