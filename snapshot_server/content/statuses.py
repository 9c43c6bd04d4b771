"""What a client is told when its call cannot be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from outbox.errors import CatalogStreamError, OutboxUnavailable
from snapshot_server.errors import (
    AtLeastAbandoned,
    AtLeastFuture,
    AtLeastMalformed,
    CursorAbandoned,
    CursorExpired,
    CursorFuture,
    CursorMalformed,
    CursorRefused,
    Draining,
    FeedAbsent,
    FeedBehind,
    FullSyncsExhausted,
    ItemTooLarge,
    ReaderStalled,
    RequestCompressed,
    RequestLate,
    RequestMalformed,
    RequestTooLarge,
    VideoIdMalformed,
    VideoMissing,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "content.v1"
_STATUS: dict[type[CatalogStreamError], Status] = {
    CursorMalformed: Status.INVALID_ARGUMENT,
    CursorExpired: Status.OUT_OF_RANGE,
    CursorFuture: Status.FAILED_PRECONDITION,
    CursorAbandoned: Status.FAILED_PRECONDITION,
    AtLeastMalformed: Status.INVALID_ARGUMENT,
    AtLeastFuture: Status.FAILED_PRECONDITION,
    AtLeastAbandoned: Status.FAILED_PRECONDITION,
    RequestMalformed: Status.INVALID_ARGUMENT,
    RequestTooLarge: Status.RESOURCE_EXHAUSTED,
    RequestCompressed: Status.UNIMPLEMENTED,
    RequestLate: Status.DEADLINE_EXCEEDED,
    FeedAbsent: Status.UNAVAILABLE,
    FeedBehind: Status.UNAVAILABLE,
    FullSyncsExhausted: Status.RESOURCE_EXHAUSTED,
    ItemTooLarge: Status.RESOURCE_EXHAUSTED,
    ReaderStalled: Status.RESOURCE_EXHAUSTED,
    Draining: Status.UNAVAILABLE,
    VideoIdMalformed: Status.INVALID_ARGUMENT,
    VideoMissing: Status.NOT_FOUND,
    OutboxUnavailable: Status.UNAVAILABLE,
}
_REASON: dict[type[CursorRefused], str] = {
    CursorMalformed: "CURSOR_MALFORMED",
    CursorExpired: "CURSOR_EXPIRED",
    CursorFuture: "CURSOR_FUTURE",
    CursorAbandoned: "CURSOR_ABANDONED",
    AtLeastMalformed: "AT_LEAST_MALFORMED",
    AtLeastFuture: "AT_LEAST_FUTURE",
    AtLeastAbandoned: "AT_LEAST_ABANDONED",
}
_LATER = (FullSyncsExhausted, FeedAbsent, FeedBehind, OutboxUnavailable)
_PAUSE = Duration(seconds=1)


def reason_of(refused: CursorRefused) -> str:
    """As a program reads it."""
    return _REASON[type(refused)]


def answer_to(error: CatalogStreamError) -> GRPCError | None:
    """What the client gets; None for what it cannot know what to do about."""
    status = _STATUS.get(type(error))
    if status is None:
        return None
    # PostgreSQL's own words may name hosts and users.
    sentence = OutboxUnavailable.__doc__ if type(error) is OutboxUnavailable else str(error)
    return GRPCError(status, sentence, _details(error))


def _details(error: CatalogStreamError) -> list[Message] | None:
    if isinstance(error, CursorRefused):
        bounds = {"oldest": error.oldest, "newest": error.newest}
        known = {name: value for name, value in bounds.items() if value is not None}
        return [ErrorInfo(reason=reason_of(error), domain=DOMAIN, metadata=known)]
    if isinstance(error, _LATER):
        return [RetryInfo(retry_delay=_PAUSE)]
    return None
