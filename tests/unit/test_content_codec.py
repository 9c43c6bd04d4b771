"""Requests are read strictly; what is bytes already is sent as it is."""

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from content_proto import content_pb2 as pb
from snapshot_server.content.codec import ContentCodec, decoded
from snapshot_server.errors import RequestMalformed

CODEC = ContentCodec()


@given(st.none() | st.text(), st.integers(0, 2**32 - 1), st.none() | st.text())
def test_a_request_is_read_as_it_was_written(
    cursor: str | None, limit: int, at_least: str | None
) -> None:
    request = pb.CatalogSnapshotRequest(cursor=cursor, limit=limit, at_least=at_least)
    assert decoded(request.SerializeToString(), pb.CatalogSnapshotRequest) == request


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\x02\xff\xfe",
        # cursor as a number of each width, limit as text, at_least as a number
        *(b"\x08\x05", b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x12\x01a", b"\x18\x01"),
    ],
)
def test_a_request_that_is_broken_or_of_other_types_is_malformed(data: bytes) -> None:
    with pytest.raises(RequestMalformed):
        decoded(data, pb.CatalogSnapshotRequest)
    with pytest.raises(GRPCError) as refused:
        CODEC.decode(data, pb.CatalogSnapshotRequest)
    assert refused.value.status is Status.INVALID_ARGUMENT


def test_a_field_of_a_newer_client_is_no_error() -> None:
    assert decoded(b"\x78\x01\x10\x07", pb.CatalogSnapshotRequest).limit == 7


@given(st.binary(max_size=60))
def test_no_bytes_at_all_do_more_than_be_malformed(data: bytes) -> None:
    try:
        request = decoded(data, pb.CatalogSnapshotRequest)
    except RequestMalformed:
        return
    # Whoever is understood to have no cursor has sent none.
    assert request.HasField("cursor") or b"\x0a" not in data[:1]


def test_bytes_are_sent_as_they_are_and_messages_encoded() -> None:
    assert CODEC.encode(b"\x01", pb.CatalogSnapshotChunk) == b"\x01"
    message = pb.CatalogSnapshotChunk(next_cursor="x")
    assert CODEC.encode(message, pb.CatalogSnapshotChunk) == message.SerializeToString()
