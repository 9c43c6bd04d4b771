"""A client of the content service: a sync that goes on, however often its calls break."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from google.protobuf.message import DecodeError
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import H2Error

from content_proto.content_pb2 import (
    CatalogSnapshotChunk,
    CatalogSnapshotRequest,
    GetVideoMetadataRequest,
    GetVideoMetadataResponse,
)
from snapshot_server.client.channels import Channels
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.errors import ServerUntrusted, StreamCut, SyncTimedOut, SyncUnavailable
from snapshot_server.client.patience import Patience, pause_before_retry
from snapshot_server.client.refusals import asked_pause_s, is_about_the_call, is_crowded, refusal_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Any

    from grpclib.client import Stream

    from snapshot_server.client.channels import Tls

_SNAPSHOT = "/content.v1.ContentService/CatalogSnapshot"
_METADATA = "/content.v1.ContentService/GetVideoMetadata"
_NEVER = float("inf")
_TRAILERS_S = 1.0
# What grpclib, h2 and protobuf raise when a call or its bytes break off somewhere.
_BROKEN = (
    *(GRPCError, StreamTerminatedError, H2Error, DecodeError, OSError),
    *(AssertionError, NotImplementedError, StreamCut),
)

T = TypeVar("T")


class Progress(NamedTuple):
    """How far a sync is; told at each chunk and at each failure."""

    chunks: int = 0
    items: int = 0
    removed: int = 0
    failures: int = 0
    """Calls in a row that brought nothing; 0 at a chunk."""
    pause_s: float = 0.0
    """Until the next call, after a failure."""
    error: Exception | None = None


class SnapshotClient:
    """Calls to the content service at *addresses*: ``<host>:<port>``, or several with commas.

    To be used with ``async with``, in one event loop, by any number of tasks.
    """

    def __init__(  # noqa: PLR0913
        self,
        addresses: str,
        token: str | None = None,
        *,
        tls: Tls | None = None,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._channels = Channels(addresses, tls)
        self._metadata = {"authorization": f"Bearer {token}"} if token else {}
        self._patience = patience
        self._clock = clock
        self._dice = dice

    async def __aenter__(self) -> Self:
        """Connect later, at the first call."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Break off whatever runs."""
        self._channels.close()

    async def sync(
        self,
        cursor: str | None = None,
        *,
        at_least: str | None = None,
        limit: int = 1000,
        deadline_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """All chunks from *cursor*, or from nothing, to the last one, which has the position.

        Goes on by itself where a call broke. *at_least*: an event that the answer includes.
        *deadline_s*: for all of it, the caller's own work between the chunks included. Raises
        CursorRefused, Unauthenticated and other SyncRefused, SyncTimedOut, SyncUnavailable.
        """
        until = self._clock() + (_NEVER if deadline_s is None else deadline_s)
        done = Progress()
        while True:
            try:
                request = CatalogSnapshotRequest(cursor=cursor, limit=limit, at_least=at_least)
                async with aclosing(self._chunks(request, until)) as chunks:
                    async for chunk in chunks:
                        moved = chunk.position or chunk.next_cursor != cursor
                        cursor = chunk.next_cursor
                        done = Progress(
                            done.chunks + 1,
                            done.items + len(chunk.items),
                            done.removed + len(chunk.removed),
                            0 if moved else done.failures,
                        )
                        if progress:
                            progress(done)
                        yield chunk
                        if chunk.position:
                            return
                error: Exception = StreamCut()
            except _BROKEN as exc:
                error = exc
            failures = done.failures + 1
            pause_s = self._pause_s(error, failures, until, cursor)
            if progress:
                progress(done._replace(failures=failures, pause_s=pause_s, error=error))
            done = done._replace(failures=failures)
            await asyncio.sleep(pause_s)

    async def get_video_metadata(
        self, video_id: str, *, deadline_s: float = 10.0
    ) -> GetVideoMetadataResponse:
        """One video as it is now. Raises VideoMissing and what `sync` does but for cursors."""
        until = self._clock() + deadline_s
        failures = 0
        while True:
            try:
                request = GetVideoMetadataRequest(video_id=video_id)
                with self._calling(
                    _METADATA, Cardinality.UNARY_UNARY, request, GetVideoMetadataResponse, until
                ) as call:
                    return await _apart(_answer(call, request), until - self._clock())
            except _BROKEN as exc:
                failures += 1
                pause_s = self._pause_s(exc, failures, until, None)
            await asyncio.sleep(pause_s)

    async def _chunks(
        self, request: CatalogSnapshotRequest, until: float
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of one call; ends where the call ends in good order."""
        silence_s = self._patience.silence_s
        with self._calling(
            _SNAPSHOT, Cardinality.UNARY_STREAM, request, CatalogSnapshotChunk, until
        ) as call:
            async with call as stream:
                await _apart(stream.send_message(request, end=True), silence_s)
                while message := await _apart(stream.recv_message(), silence_s):
                    chunk = Chunk.of(message)
                    if chunk is None:
                        raise StreamCut("a chunk came from which nobody can go on")
                    if chunk.position:
                        # It has all that is wanted, whatever the status says.
                        with suppress(*_BROKEN):
                            await _apart(stream.recv_trailing_metadata(), _TRAILERS_S)
                    yield chunk
                # grpclib would wait for ever for trailers that were forgotten.
                await _apart(stream.recv_trailing_metadata(), silence_s)

    @contextmanager
    def _calling(
        self, method: str, cardinality: Cardinality, request: T, reply: type[Any], until: float
    ) -> Iterator[Stream[T, Any]]:
        """A call on a connection that is left if the call fails."""
        timeout_s = min(self._patience.attempt_s, until - self._clock())
        with self._channels.borrowed() as channel:
            try:
                yield channel.request(
                    method,
                    cardinality,
                    type(request),
                    reply,
                    timeout=timeout_s,
                    metadata=self._metadata,
                )
            except _BROKEN as exc:
                if not is_about_the_call(exc):
                    self._channels.leave(channel)
                raise

    def _pause_s(self, error: Exception, failures: int, until: float, cursor: str | None) -> float:
        """How long to wait before the next call. Raises what not to try again."""
        if isinstance(error, GRPCError) and (refusal := refusal_of(error)):
            raise refusal from error
        if isinstance(error, ssl.SSLCertVerificationError):
            raise ServerUntrusted(f"the service is not trusted: {error}") from error
        pause_s = pause_before_retry(
            failures,
            self._patience,
            crowded=is_crowded(error),
            asked_s=asked_pause_s(error),
            dice=self._dice(),
        )
        if self._clock() + pause_s >= until:
            raise SyncTimedOut(f"no time is left: {_said(error)}", cursor=cursor) from error
        if failures >= self._patience.attempts:
            raise SyncUnavailable(
                f"given up after {failures} attempts: {_said(error)}", cursor=cursor
            ) from error
        return pause_s


async def _answer(call: Stream[T, Any], request: T) -> Any:  # noqa: ANN401 - as grpclib has it
    async with call as stream:
        await stream.send_message(request, end=True)
        return await stream.recv_message()


async def _apart(work: Coroutine[Any, Any, T], within_s: float) -> T:
    """Do *work* in a task of its own. Raises TimeoutError.

    When a stream ends grpclib cancels the task that waits, and raises another error instead. In
    the caller's own task that cancellation would stay counted, and a time-out or a cancellation
    around a whole sync be mistaken for it, or the other way round.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task else 0
    async with asyncio.timeout(within_s):
        try:
            return await asyncio.create_task(work)
        except _BROKEN:
            if task and task.cancelling() > asked:
                raise asyncio.CancelledError from None
            raise


def _said(error: Exception) -> str:
    if isinstance(error, GRPCError):
        return f"{error.message or 'no reason given'} ({error.status.name})"
    return str(error) or type(error).__name__
