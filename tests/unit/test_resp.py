import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.testing.resp import Frames, first_entries, words

_MESSAGES = [
    b"*2\r\n$4\r\nXLEN\r\n$1\r\ns\r\n",
    b"PING\r\n",
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":7\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"$6\r\na\r\n*2\n\r\n",
    b"*0\r\n",
    b"%1\r\n$1\r\na\r\n*1\r\n_\r\n",
    b"~2\r\n#t\r\n,1.5\r\n",
    b">2\r\n+invalidate\r\n*0\r\n",
    b"|1\r\n+ttl\r\n:3\r\n*2\r\n:1\r\n:2\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"(123\r\n",
]


@given(st.lists(st.sampled_from(_MESSAGES)), st.data())
def test_messages_are_found_however_they_are_cut_in_pieces(
    messages: list[bytes], data: st.DataObject
) -> None:
    sent = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)))))
    frames = Frames()
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert [frame for piece in pieces for frame in frames.feed(piece)] == messages


def test_a_request_is_known_by_its_words() -> None:
    assert words(b"*3\r\n$4\r\nxack\r\n$2\r\n\r\n\r\n$0\r\n\r\n") == [b"xack", b"\r\n", b""]
    assert words(b"PING  now\r\n") == [b"PING", b"now"]


def _entry(number: int) -> bytes:
    return b"*2\r\n$3\r\n%d-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n" % number


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"*1\r\n*2\r\n$1\r\ns\r\n", b""),
        (b"%1\r\n$1\r\ns\r\n", b""),
        (b"*2\r\n$2\r\nOK\r\n*1\r\n*2\r\n$1\r\ns\r\n", b""),
        (b"*3\r\n$3\r\n0-0\r\n", b"*0\r\n"),
    ],
    ids=["RESP 2", "RESP 3", "a transaction", "XAUTOCLAIM"],
)
def test_a_reply_is_left_with_its_first_entries(before: bytes, after: bytes) -> None:
    def reply(count: int) -> bytes:
        return before + b"*%d\r\n" % count + b"".join(map(_entry, range(1, count + 1))) + after

    assert first_entries(reply(5), 2) == reply(2)
    assert first_entries(reply(1), 2) == reply(1)
    assert first_entries(b"*-1\r\n", 2) == b"*-1\r\n"
