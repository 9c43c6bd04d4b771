"""Messages on a call's stream, within bounds that grpclib does not keep.

It reads requests of any length, answers UNKNOWN to those that break off, and waits without end for
a client that takes nothing. What is done about that needs some of its inner parts, here alone.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING, Any, TypeVar

from h2.errors import ErrorCodes

from snapshot_server.content.codec import decoded
from snapshot_server.errors import (
    ReaderStalled,
    RequestCompressed,
    RequestLate,
    RequestMalformed,
    RequestTooLarge,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from grpclib.server import Stream

    M = TypeVar("M", bound=Message)

_HEAD = struct.Struct(">BI")
"""Of a message: whether it is compressed, and its length."""


async def receive(
    stream: Stream[Any, Any], message_type: type[M], *, max_bytes: int, within_s: float
) -> M:
    """The request. Raises RequestMalformed and other errors that begin so."""
    try:
        async with asyncio.timeout(within_s):
            return decoded(await _bytes_of(stream, max_bytes), message_type)
    except TimeoutError as exc:
        raise RequestLate from exc


async def _bytes_of(stream: Stream[Any, Any], max_bytes: int) -> bytes:
    read = stream._stream.recv_data  # noqa: SLF001
    try:
        head = await read(_HEAD.size)
        if not head:
            raise RequestMalformed("the call was closed without a request")
        compressed, size = _HEAD.unpack(head)
        if compressed:
            raise RequestCompressed
        if size > max_bytes:
            raise RequestTooLarge
        message = await read(size)
    except AssertionError as exc:
        raise RequestMalformed("the request broke off") from exc
    if len(message) < size:
        raise RequestMalformed("the request broke off")
    return message


async def send(stream: Stream[Any, Any], *pieces: bytes, within_s: float) -> int:
    """Send one message of a stream of them, given in *pieces*; the bytes of it.

    Raises ReaderStalled. The client has either no part of the message then, or its stream was
    reset: it must not take the end of the call for the end of the message.
    """
    raw = stream._stream  # noqa: SLF001
    size = sum(map(len, pieces))
    before = raw.data_sent
    try:
        async with asyncio.timeout(within_s):
            if not stream._send_initial_metadata_done:  # noqa: SLF001
                await stream.send_initial_metadata()
            await raw.send_data(_HEAD.pack(0, size) + pieces[0])
            for piece in pieces[1:]:
                # Other calls come in between; and what is not put together is not copied.
                await asyncio.sleep(0)
                await raw.send_data(piece)
    except TimeoutError as exc:
        _give_up(stream, within_s, begun=raw.data_sent > before)
        raise ReaderStalled from exc
    return size


async def reply(stream: Stream[Any, Any], message: Message, *, within_s: float) -> None:
    """Send the only message. Raises ReaderStalled."""
    before = stream._stream.data_sent  # noqa: SLF001
    try:
        async with asyncio.timeout(within_s):
            await stream.send_message(message)
    except TimeoutError as exc:
        _give_up(stream, within_s, begun=stream._stream.data_sent > before)  # noqa: SLF001
        raise ReaderStalled from exc


def _give_up(stream: Stream[Any, Any], after_s: float, *, begun: bool) -> None:
    raw = stream._stream  # noqa: SLF001
    connection = raw.connection
    idle_s = time.monotonic() - (connection.last_data_sent or 0.0)
    if not connection.write_ready.is_set() and idle_s > after_s / 2:
        # The whole connection takes nothing. Even a status would wait for it, and for ever.
        raw._transport.abort()  # noqa: SLF001
    elif begun and raw.closable:
        # gRPC reads this code as RESOURCE_EXHAUSTED.
        raw.reset_nowait(ErrorCodes.ENHANCE_YOUR_CALM)
        stream._cancel_done = True  # noqa: SLF001
