"""The names of what a group keeps in Redis beside a stream."""

from __future__ import annotations


def stream_keys(stream: str, partitions: int) -> list[str]:
    """The stream of each partition."""
    if partitions == 1:
        return [stream]
    return [f"{stream}:{{{number}}}" for number in range(partitions)]


def dead_letter_key(stream: str, group: str) -> str:
    """The stream of what was set aside."""
    return f"{stream}:dead-letter:{group}"


def reader_key(stream: str, group: str) -> str:
    """The lease: who reads the stream for the group."""
    return f"{_tagged(stream)}:reader:{group}"


def term_key(stream: str, group: str) -> str:
    """Changes whenever another member takes the lease."""
    return f"{_tagged(stream)}:term:{group}"


def members_key(stream: str, group: str) -> str:
    """Who is there, with the time at which it no longer counts."""
    return f"{_tagged(stream)}:members:{group}"


def begun_key(stream: str, group: str) -> str:
    """The entry that was begun after others had died, and how often it was."""
    return f"{_tagged(stream)}:begun:{group}"


def gap_key(stream: str, group: str) -> str:
    """What a read found to be missing, until it is made up for."""
    return f"{_tagged(stream)}:gap:{group}"


def parked_key(stream: str, group: str) -> str:
    """A hash: each entity whose events are set aside, and the first of them."""
    return f"{_tagged(stream)}:parked:{group}"


def requests_key(stream: str, group: str) -> str:
    """A hash: what on-call wants done with dead letters."""
    return f"{_tagged(stream)}:requests:{group}"


def _tagged(stream: str) -> str:
    """In the stream's slot of a cluster: by its own hash tag, or by all of its name."""
    return stream if "{" in stream else f"{{{stream}}}"
