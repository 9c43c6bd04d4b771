"""A client in a process of its own, started as ``python -m benchmarks.reader '<wish>'``.

grpcio, with the messages left as bytes: it counts them, and decodes the last one alone, which says
how many items there were. What it found goes to standard output, as JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from content_proto import content_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = wire.DESCRIPTOR.services_by_name["ContentService"].full_name

_PAUSE_S = 0.02
_FEWEST = 2  # chunks in a tenth
_OPTIONS = [("grpc.max_receive_message_length", -1)]


class Sync(NamedTuple):
    """One call of CatalogSnapshot."""

    items: int
    bytes: int
    took_s: float
    first_s: float
    """Until the first chunk was there."""
    first_tenth: float
    """Chunks a second, in the first tenth of them; 0 where there are too few."""
    last_tenth: float


class Wish(NamedTuple):
    """What is to be called."""

    address: str
    calls: int = 1
    """At most."""
    most_s: float = 60.0
    """After these, no call is begun."""
    limit: int = 1000
    cursor: str | None = None
    first_only: bool = False
    """Break off at the first chunk."""
    forever: bool = False
    """Full syncs until SIGTERM; a line when the first chunk is there, and one at the end."""
    videos: tuple[str, ...] = ()
    """Instead: call GetVideoMetadata for these in turn, with a pause after each call."""
    pause_s: float = 0.01


def main(wish: Wish) -> None:
    """Do it."""
    with grpc.insecure_channel(wish.address, options=_OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        if wish.videos:
            print(json.dumps(_videos(channel, wish)), flush=True)  # noqa: T201
        elif wish.forever:
            _syncs(channel, wish)
        else:
            _sync(channel, wish._replace(first_only=True))
            found = []
            for _ in _times(wish):
                time.sleep(_PAUSE_S)
                found.append(_sync(channel, wish))
            print(json.dumps(found), flush=True)  # noqa: T201


def _times(wish: Wish) -> Iterator[int]:
    """Once, and again as long as the wish lets it."""
    began = time.perf_counter()
    for number in range(wish.calls):
        if number and time.perf_counter() - began > wish.most_s:
            return
        yield number


def _sync(channel: grpc.Channel, wish: Wish) -> Sync:
    times: list[float] = []
    sizes: list[int] = []
    kept: list[bytes] = []
    began = time.perf_counter()
    call = _call(channel, wish)
    for message in call:
        times.append(time.perf_counter())
        sizes.append(len(message))
        if wish.cursor or not kept:
            kept.append(message)
        else:
            kept[-1] = message
        if wish.first_only:
            call.cancel()
            break
    if wish.cursor:
        items = sum(len(wire.CatalogSnapshotChunk.FromString(one).items) for one in kept)
    else:
        summary = wire.CatalogSnapshotChunk.FromString(kept[-1]).summary
        items = summary.series + summary.episodes
    return Sync(
        items,
        sum(sizes),
        times[-1] - began,
        times[0] - began,
        *_tenths(times[:-1]),
    )


def _tenths(times: list[float]) -> tuple[float, float]:
    """Without the first chunk, which came in a time of its own, and the last, which is shorter."""
    tenth = len(times) // 10
    if tenth < _FEWEST:
        return 0.0, 0.0
    return tenth / (times[tenth] - times[0]), tenth / (times[-1] - times[-1 - tenth])


def _syncs(channel: grpc.Channel, wish: Wish) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    received, began = 0, time.perf_counter()
    try:
        while True:
            for message in _call(channel, wish):
                if not received:
                    print(json.dumps("reading"), flush=True)  # noqa: T201
                    began = time.perf_counter()
                received += len(message)
    except KeyboardInterrupt:
        print(json.dumps(received / (time.perf_counter() - began)), flush=True)  # noqa: T201


def _call(channel: grpc.Channel, wish: Wish) -> Any:  # noqa: ANN401 - grpcio's calls have no type
    request = wire.CatalogSnapshotRequest(limit=wish.limit, cursor=wish.cursor)
    ask: Any = channel.unary_stream(
        f"/{SERVICE}/CatalogSnapshot", wire.CatalogSnapshotRequest.SerializeToString
    )
    return ask(request)


def _videos(channel: grpc.Channel, wish: Wish) -> list[float]:
    """Milliseconds, one for each call."""
    ask: Any = channel.unary_unary(
        f"/{SERVICE}/GetVideoMetadata", wire.GetVideoMetadataRequest.SerializeToString
    )
    return list(_asked(ask, wish))


def _asked(ask: Any, wish: Wish) -> Iterator[float]:  # noqa: ANN401
    for number in _times(wish):
        request = wire.GetVideoMetadataRequest(video_id=wish.videos[number % len(wish.videos)])
        began = time.perf_counter()
        ask(request)
        yield (time.perf_counter() - began) * 1000
        time.sleep(wish.pause_s)


if __name__ == "__main__":
    main(Wish(**json.loads(sys.argv[1])))
