"""The names of what the publisher keeps in Redis beside a stream."""

from __future__ import annotations


def epoch_key(stream_key: str) -> str:
    """Holds the highest epoch that has appended to the stream, and the highest ID it has had.

    In the same slot of a cluster: by the stream's own hash tag, or by all of its name.
    """
    return f"{stream_key}:epoch" if "{" in stream_key else f"{{{stream_key}}}:epoch"
