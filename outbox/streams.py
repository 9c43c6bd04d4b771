"""The names of the streams that events go to."""

from __future__ import annotations


def stream_keys(stream_key: str, partitions: int) -> list[str]:
    """The stream of each partition; with a hash tag, so that a cluster can spread them."""
    if partitions == 1:
        return [stream_key]
    return [f"{stream_key}:{{{number}}}" for number in range(partitions)]
