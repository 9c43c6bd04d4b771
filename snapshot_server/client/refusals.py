"""What the statuses of the content service mean to a client."""

from __future__ import annotations

from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from snapshot_server.client.errors import SyncRefused, Unauthenticated
from snapshot_server.errors import (
    AtLeastAbandoned,
    AtLeastFuture,
    AtLeastMalformed,
    CursorAbandoned,
    CursorExpired,
    CursorFuture,
    CursorMalformed,
    SnapshotError,
    VideoMissing,
)

_BY_REASON = {
    "CURSOR_MALFORMED": CursorMalformed,
    "CURSOR_EXPIRED": CursorExpired,
    "CURSOR_FUTURE": CursorFuture,
    "CURSOR_ABANDONED": CursorAbandoned,
    "AT_LEAST_MALFORMED": AtLeastMalformed,
    "AT_LEAST_FUTURE": AtLeastFuture,
    "AT_LEAST_ABANDONED": AtLeastAbandoned,
}
_BY_STATUS = {
    Status.UNAUTHENTICATED: Unauthenticated,
    Status.NOT_FOUND: VideoMissing,
    Status.INVALID_ARGUMENT: SyncRefused,
    Status.OUT_OF_RANGE: SyncRefused,
    Status.FAILED_PRECONDITION: SyncRefused,
    Status.PERMISSION_DENIED: SyncRefused,
    Status.UNIMPLEMENTED: SyncRefused,
}


def refusal_of(answer: GRPCError) -> SnapshotError | None:
    """What not to try again; None for what may pass."""
    if answer.status not in _BY_STATUS:
        return None
    sentence = f"{answer.message or 'no reason given'} ({answer.status.name})"
    for detail in answer.details or ():
        if isinstance(detail, ErrorInfo) and (error := _BY_REASON.get(detail.reason)):
            oldest, newest = (detail.metadata.get(name) or None for name in ("oldest", "newest"))
            return error(sentence, oldest=oldest, newest=newest)
    return _BY_STATUS[answer.status](sentence)


def is_about_the_call(answer: Exception) -> bool:
    """Whether another connection would bring the same answer."""
    return isinstance(answer, GRPCError) and (is_crowded(answer) or refusal_of(answer) is not None)


def is_crowded(answer: Exception) -> bool:
    """Whether the service said that it has too much to do."""
    return getattr(answer, "status", None) is Status.RESOURCE_EXHAUSTED


def asked_pause_s(answer: Exception) -> float:
    """How long the service asks to be left alone, in seconds."""
    for detail in getattr(answer, "details", None) or ():
        if isinstance(detail, RetryInfo):
            delay: float = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
            return max(delay, 0.0)
    return 0.0
