"""What the server's messages are read and written with.

A server that is given this codec must be given grpclib's ProtoStatusDetailsCodec too: grpclib
drops it silently where the codec is not its own, and clients would get no ErrorInfo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from grpclib.const import Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError

from snapshot_server.errors import RequestMalformed

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from grpclib._typing import IProtoMessage

    M = TypeVar("M", bound=Message)


class ContentCodec(ProtoCodec):
    """Bytes are sent as they are; requests are read by google's classes, strictly."""

    def encode(self, message: IProtoMessage | bytes, message_type: type[IProtoMessage]) -> bytes:
        """Encode *message*, unless that was done before."""
        if type(message) is bytes:
            return message
        return super().encode(message, message_type)  # type: ignore[arg-type]

    def decode(self, data: bytes, message_type: type[IProtoMessage]) -> IProtoMessage:
        """Raises GRPCError."""
        try:
            return decoded(data, message_type)  # type: ignore[type-var]
        except RequestMalformed as exc:
            raise GRPCError(Status.INVALID_ARGUMENT, str(exc)) from exc


def decoded(data: bytes, message_type: type[M]) -> M:
    """Read a request. Raises RequestMalformed."""
    try:
        message = message_type.FromString(data)
    except DecodeError as exc:
        raise RequestMalformed from exc
    # A field that we know, with another wire type, is among those that google's parser does not
    # know: a cursor that was sent as a number would be no cursor.
    unknown = UnknownFieldSet(message)
    for index in range(len(unknown)):
        number = unknown[index].field_number
        if field := message.DESCRIPTOR.fields_by_number.get(number):
            raise RequestMalformed(f"{field.name} is not of the type that it should be")
    return message
