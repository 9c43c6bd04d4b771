"""Every call of a client: whether it may, how it ended, and whether it is still under way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from grpclib import GRPCError, Status
from grpclib.events import RecvRequest, listen

if TYPE_CHECKING:
    from grpclib._typing import IServerMethodFunc
    from grpclib.metadata import Deadline
    from grpclib.server import Server, Stream

    from process.tokens import Tokens

_NAME = "authorization"
_OPEN_TO_ALL = "/grpc.health.v1.Health/"
"""Methods that need no token: probes have none."""


class Counting(Protocol):
    """Is told of each call: its method, and its gRPC code by name."""

    def call_began(self, method: str) -> None:
        """It may be made, and is under way."""

    def call_ended(self, method: str, code: str, *, took_s: float) -> None:
        """It was under way."""

    def call_refused(self, method: str, code: str) -> None:
        """It was not begun."""


class Calls:
    """The calls of one server, but for those of its health, which need no token and never end."""

    def __init__(self, tokens: Tokens | None, counting: Counting) -> None:
        self._tokens = tokens
        self._counting = counting
        self._under_way: set[asyncio.Task[Any]] = set()
        self._answering: set[asyncio.Task[Any]] = set()
        """Handled, and their trailers are not sent yet: a client that reads slowly has to."""
        self._refused = False

    def of(self, server: Server) -> None:
        """Watch over the calls of *server*."""
        listen(server, RecvRequest, self._begin)

    @property
    def under_way(self) -> int:
        """Also those that have not sent a request yet."""
        return len(self._under_way)

    def refuse(self) -> None:
        """Begin none from now on; those under way go on."""
        self._refused = True

    async def answered(self) -> None:
        """Return when the answers of all that were handled are on their way."""
        if self._answering:
            await asyncio.wait(self._answering)

    async def _begin(self, event: RecvRequest) -> None:
        """Runs when a request's headers are there, before its message is read or decoded."""
        method = event.method_name
        if method.startswith(_OPEN_TO_ALL):
            return
        shown = [str(value) for value in event.metadata.popall(_NAME, [])]
        if self._tokens and not self._tokens.admit(shown):
            self._counting.call_refused(method, Status.UNAUTHENTICATED.name)
            raise GRPCError(
                Status.UNAUTHENTICATED, "needs one of this service's tokens: authorization: Bearer"
            )
        if self._refused:
            self._counting.call_refused(method, Status.UNAVAILABLE.name)
            raise GRPCError(Status.UNAVAILABLE, "this server is shutting down: call another")
        _until_done(self._under_way)
        event.method_func = self._counted(method, event.method_func, event.deadline)

    def _counted(
        self, method: str, handle: IServerMethodFunc, deadline: Deadline | None
    ) -> IServerMethodFunc:
        async def counted(stream: Stream[Any, Any]) -> None:
            began, code = time.perf_counter(), Status.UNKNOWN
            self._counting.call_began(method)
            try:
                await handle(stream)
                code = Status.OK
            except GRPCError as exc:
                code = exc.status
                raise
            except asyncio.CancelledError:
                # Also how grpclib wakes up a handler whose deadline has passed.
                is_late = deadline is not None and deadline.time_remaining() <= 0
                code = Status.DEADLINE_EXCEEDED if is_late else Status.CANCELLED
                raise
            finally:
                _until_done(self._answering)
                took_s = time.perf_counter() - began
                self._counting.call_ended(method, code.name, took_s=took_s)

        return counted


def _until_done(tasks: set[asyncio.Task[Any]]) -> None:
    """Have the running task in *tasks* for as long as it runs."""
    if task := asyncio.current_task():
        tasks.add(task)
        task.add_done_callback(tasks.discard)
