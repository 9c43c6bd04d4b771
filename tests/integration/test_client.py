"""The client against a service that breaks: it goes on where it was, or says why it does not."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest
import trustme
from faulty_service import (
    AFTER_THE_LAST,
    FAULTS,
    POSITION,
    Fault,
    FaultyService,
    answered,
    ends_well,
    falls_silent,
    forgets_trailers,
    goes_away,
    hangs_up,
    leads_nowhere,
    resets,
    sends_rubbish,
    serving,
    stops_within_a_message,
)
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpclib.const import Status

from content_proto.content_pb2 import CatalogSnapshotChunk
from snapshot_server.client.channels import Tls
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.client import Progress, SnapshotClient
from snapshot_server.client.errors import (
    ServerUntrusted,
    SummaryMismatch,
    SyncRefused,
    SyncTimedOut,
    SyncUnavailable,
    Unauthenticated,
)
from snapshot_server.client.patience import Patience
from snapshot_server.client.tally import Mirror
from snapshot_server.errors import (
    AtLeastFuture,
    CursorAbandoned,
    CursorExpired,
    CursorFuture,
    CursorMalformed,
    CursorRefused,
    VideoMissing,
)

# A break is followed by the next call at once; silence is borne as long as a busy machine needs.
IN_A_HURRY = Patience(silence_s=20, backoff_base_s=0, crowded_base_s=0)
SOON_TIRED = Patience(silence_s=1, backoff_base_s=0)
UNAVAILABLE = answered(Status.UNAVAILABLE, "draining")


async def synced(address: str, *, limit: int = 2, patience: Patience = IN_A_HURRY) -> Mirror:
    mirror = Mirror()
    async with SnapshotClient(address, patience=patience) as client:
        async for chunk in client.sync(limit=limit):
            mirror.apply(chunk)
    return mirror


async def taken(chunks: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


async def cursors_asked_for(
    fault: Fault, after: int = 2, patience: Patience = IN_A_HURRY
) -> list[str]:
    """Those of each call in a sync of seven items, two in a chunk, that *fault* breaks once."""
    service = FaultyService(7, [(after, fault)])
    async with serving(service) as address:
        mirror = await synced(address, patience=patience)
    assert [item.version for item in mirror.items.values()] == [1, 2, 3, 4, 5, 6, 7]
    assert mirror.position == POSITION
    return [request.cursor for request in service.requests]


def assert_goes_on(cursors: list[str]) -> None:
    """From anywhere: what was under way when the stream broke may be lost with it."""
    first, second = cursors
    assert first == ""
    assert second in {"", "c2", "c4"}


async def test_a_sync_brings_every_item_and_the_position() -> None:
    service = FaultyService(7)
    async with serving(service) as address:
        mirror = await synced(address)
    assert [item.title for item in mirror.items.values()] == [f"no {n}" for n in range(1, 8)]
    assert mirror.totals.episodes == 7
    assert mirror.position == POSITION


async def test_a_call_that_is_refused_midway_goes_on_from_its_last_cursor() -> None:
    assert await cursors_asked_for(UNAVAILABLE) == ["", "c4"]


async def test_a_call_that_breaks_before_its_first_chunk_begins_again() -> None:
    assert await cursors_asked_for(UNAVAILABLE, after=0) == ["", ""]


async def test_a_stream_that_ends_well_without_a_last_chunk_goes_on() -> None:
    assert await cursors_asked_for(ends_well) == ["", "c4"]


async def test_a_stream_that_is_reset_goes_on() -> None:
    assert_goes_on(await cursors_asked_for(resets))


async def test_a_server_that_goes_away_is_left_and_the_sync_goes_on() -> None:
    assert_goes_on(await cursors_asked_for(goes_away))


async def test_a_connection_that_is_lost_goes_on() -> None:
    assert_goes_on(await cursors_asked_for(hangs_up))


async def test_a_server_that_falls_silent_is_left() -> None:
    assert await cursors_asked_for(falls_silent, patience=SOON_TIRED) == ["", "c4"]


async def test_a_stream_that_ends_without_trailers_goes_on() -> None:
    assert await cursors_asked_for(forgets_trailers, patience=SOON_TIRED) == ["", "c4"]


async def test_half_a_message_is_no_message() -> None:
    assert await cursors_asked_for(stops_within_a_message) == ["", "c4"]


async def test_a_chunk_that_cannot_be_read_is_asked_for_again() -> None:
    assert await cursors_asked_for(sends_rubbish) == ["", "c4"]


async def test_a_chunk_from_which_nobody_can_go_on_is_asked_for_again() -> None:
    assert await cursors_asked_for(leads_nowhere) == ["", "c4"]


# The others may take the last chunk with them.
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"resets", "goes_away", "hangs_up"}))
async def test_a_last_chunk_counts_whatever_follows_it(fault: str) -> None:
    service = FaultyService(3, [(AFTER_THE_LAST, FAULTS[fault])])
    async with serving(service) as address:
        mirror = await synced(address)
    assert mirror.totals.episodes == 3
    assert len(service.requests) == 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_broken_at_random_chunks_the_mirror_is_exact(seed: int, limit: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    faults = [(dice.randrange(5), dice.choice(list(FAULTS.values()))) for _ in range(12)]
    service = FaultyService(40, faults)
    patience = Patience(attempts=100, silence_s=0.1, backoff_base_s=0)
    async with serving(service) as address:
        mirror = await synced(address, limit=limit, patience=patience)
    assert mirror.totals.episodes == 40
    assert sorted(item.version for item in mirror.items.values()) == list(range(1, 41))


async def test_a_server_that_was_killed_and_started_again_is_found_again() -> None:
    mirror = Mirror()
    service = FaultyService(7, [(2, falls_silent)])
    patience = Patience(attempts=1000, silence_s=5, backoff_base_s=0.01, backoff_cap_s=0.01)
    async with serving(service) as address:
        client = SnapshotClient(address, patience=patience)
        chunks = client.sync(limit=2)
        mirror.apply(await anext(chunks))
        mirror.apply(await anext(chunks))
    going_on = asyncio.create_task(anext(chunks))
    async with client, serving(service, port=int(address.split(":")[1])):
        mirror.apply(await going_on)
        async for chunk in chunks:
            mirror.apply(chunk)
    assert mirror.totals.episodes == 7


async def test_of_several_addresses_one_that_answers_is_found() -> None:
    async with serving(FaultyService(3)) as dead:
        pass
    async with serving(FaultyService(3)) as address:
        mirror = await synced(f"{dead},{address}")
    assert mirror.totals.episodes == 3


async def test_it_gives_up_after_calls_that_brought_nothing_and_says_from_where_to_go_on() -> None:
    service = FaultyService(7, [(2, UNAVAILABLE)] + [(0, UNAVAILABLE)] * 9)
    async with serving(service) as address:
        with pytest.raises(SyncUnavailable, match="4 attempts: draining") as caught:
            await synced(address, patience=Patience(attempts=4, backoff_base_s=0))
    assert caught.value.cursor == "c4"
    assert len(service.requests) == 4


async def test_a_chunk_begins_the_count_of_attempts_anew() -> None:
    service = FaultyService(20, [(1, UNAVAILABLE)] * 9)
    async with serving(service) as address:
        mirror = await synced(address, patience=Patience(attempts=2, backoff_base_s=0))
    assert mirror.totals.episodes == 20


async def test_a_chunk_that_leads_to_the_same_place_is_no_progress() -> None:
    async def stands_still(stream: object) -> None:
        await stream.send_message(CatalogSnapshotChunk(next_cursor="c0"))  # type: ignore[attr-defined]

    service = FaultyService(7, [(0, stands_still)] * 9)
    async with serving(service) as address:
        with pytest.raises(SyncUnavailable, match="4 attempts"):
            await synced(address, patience=Patience(attempts=4, backoff_base_s=0))


async def test_its_deadline_ends_a_sync_with_the_cursor() -> None:
    async with (
        serving(FaultyService(7, [(2, falls_silent)])) as address,
        SnapshotClient(address) as client,
    ):
        with pytest.raises(SyncTimedOut) as caught:
            await taken(client.sync(limit=2, deadline_s=0.3))
    assert caught.value.cursor == "c4"


async def test_a_crowded_service_is_left_alone_for_longer_and_as_long_as_it_asks() -> None:
    seen: list[Progress] = []
    full = answered(Status.RESOURCE_EXHAUSTED, "16 syncs run")
    asking = answered(
        Status.RESOURCE_EXHAUSTED, "", RetryInfo(retry_delay=Duration(nanos=7_000_000))
    )
    patience = Patience(backoff_base_s=0, crowded_base_s=0.002)
    service = FaultyService(1, [(0, UNAVAILABLE), (0, full), (0, asking)])
    async with (
        serving(service) as address,
        SnapshotClient(address, patience=patience, dice=lambda: 0.5) as client,
    ):
        await taken(client.sync(progress=seen.append))
    assert [report.pause_s for report in seen] == pytest.approx([0, 0.002, 0.011, 0])
    assert [report.failures for report in seen] == [1, 2, 3, 0]


async def test_progress_counts_what_was_brought_and_names_what_broke() -> None:
    seen: list[Progress] = []
    service = FaultyService(3, [(1, UNAVAILABLE)])
    async with (
        serving(service) as address,
        SnapshotClient(address, patience=IN_A_HURRY) as client,
    ):
        await taken(client.sync(limit=2, progress=seen.append))
    assert [(report.chunks, report.items, report.error is None) for report in seen] == [
        (1, 2, True),
        (1, 2, False),
        (2, 3, True),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (Status.INVALID_ARGUMENT, "CURSOR_MALFORMED", CursorMalformed),
        (Status.OUT_OF_RANGE, "CURSOR_EXPIRED", CursorExpired),
        (Status.FAILED_PRECONDITION, "CURSOR_FUTURE", CursorFuture),
        (Status.FAILED_PRECONDITION, "CURSOR_ABANDONED", CursorAbandoned),
        (Status.FAILED_PRECONDITION, "AT_LEAST_FUTURE", AtLeastFuture),
    ],
)
async def test_a_refused_cursor_is_never_tried_again(
    status: Status, reason: str, error: type[CursorRefused]
) -> None:
    info = ErrorInfo(
        reason=reason, domain="content.v1", metadata={"oldest": "5-0", "newest": "9-0"}
    )
    service = FaultyService(3, [(0, answered(status, "no", info))] * 3)
    async with serving(service) as address:
        with pytest.raises(error) as caught:
            await synced(address)
    assert (caught.value.oldest, caught.value.newest) == ("5-0", "9-0")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.UNAUTHENTICATED, Unauthenticated),
        (Status.PERMISSION_DENIED, SyncRefused),
        (Status.UNIMPLEMENTED, SyncRefused),
        (Status.INVALID_ARGUMENT, SyncRefused),
    ],
)
async def test_what_will_be_so_again_is_never_tried_again(
    status: Status, error: type[SyncRefused]
) -> None:
    service = FaultyService(3, [(0, answered(status, "no"))] * 3)
    async with serving(service) as address:
        with pytest.raises(error, match="no"):
            await synced(address)
    assert len(service.requests) == 1


async def test_token_limit_cursor_and_at_least_are_asked_for_at_each_call() -> None:
    service = FaultyService(9, [(1, UNAVAILABLE)])
    async with (
        serving(service) as address,
        SnapshotClient(address, "secret", patience=IN_A_HURRY) as client,
    ):
        await taken(client.sync("c2", at_least="8-1", limit=3))
    asked = [(each.cursor, each.limit, each.at_least) for each in service.requests]
    assert asked == [("c2", 3, "8-1"), ("c5", 3, "8-1")]
    assert service.tokens == ["Bearer secret", "Bearer secret"]


async def test_calls_share_a_connection_until_it_fails() -> None:
    service = FaultyService(1, [(-1, ends_well), (-1, ends_well), (0, UNAVAILABLE)])
    async with serving(service) as address, SnapshotClient(address, patience=IN_A_HURRY) as client:
        used = []
        for _ in range(3):
            await taken(client.sync())
            await client.get_video_metadata("x")
            used.append(client._channels._current)  # noqa: SLF001
    assert used[0] is used[1] is not used[2]


async def test_a_summary_that_differs_says_what_differs() -> None:
    async with serving(FaultyService(3)) as address, SnapshotClient(address) as client:
        # As if the first item had been forgotten.
        [chunk] = await taken(client.sync("c1"))
        with pytest.raises(SummaryMismatch, match="episodes 2 instead of 3, digest") as caught:
            Mirror().apply(chunk)
    assert caught.value.expected.episodes == 3
    assert caught.value.position == POSITION


async def within(seconds: float, client: SnapshotClient) -> None:
    async with asyncio.timeout(seconds):
        await taken(client.sync())


async def test_cancelled_in_the_middle_of_a_break_it_is_cancelled() -> None:
    service = FaultyService(7, [(0, resets)] * 10_000)
    patience = Patience(attempts=10_000, backoff_base_s=0)
    async with serving(service) as address, SnapshotClient(address, patience=patience) as client:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await within(0.01, client)
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_a_sync_that_is_left_early_ends_its_call() -> None:
    service = FaultyService(7, [(1, falls_silent)])
    async with serving(service) as address, SnapshotClient(address) as client:
        chunks = client.sync(limit=2)
        await anext(chunks)
        await chunks.aclose()
        assert [*client._channels._users.values()] == [0]  # noqa: SLF001


async def test_metadata_of_a_video_is_asked_for_and_an_unknown_one_is_said_to_be_unknown() -> None:
    async with serving(FaultyService(0)) as address, SnapshotClient(address) as client:
        assert (await client.get_video_metadata("x")).title == "found"
        with pytest.raises(VideoMissing, match="no such video"):
            await client.get_video_metadata("nobody")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server that asks its clients for a certificate of the same authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("feed.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


async def test_with_certificates_on_both_sides_it_syncs(
    authority: trustme.CA, ca_file: str, server_context: ssl.SSLContext
) -> None:
    with authority.issue_cert("client.example").private_key_and_cert_chain_pem.tempfile() as own:
        tls = Tls(ca=ca_file, certificate=own, server_name="feed.example")
        async with (
            serving(FaultyService(3), ssl=server_context) as address,
            SnapshotClient(address, tls=tls) as client,
        ):
            chunks = await taken(client.sync())
    assert chunks[-1].position == POSITION


async def test_a_server_with_another_name_is_not_trusted_and_not_tried_again(
    ca_file: str, server_context: ssl.SSLContext
) -> None:
    tls = Tls(ca=ca_file, server_name="other.example")
    async with (
        serving(FaultyService(3), ssl=server_context) as address,
        SnapshotClient(address, tls=tls) as client,
    ):
        with pytest.raises(ServerUntrusted, match=r"other\.example"):
            await anext(client.sync())


async def test_without_the_certificate_that_a_server_asks_for_it_gives_up(
    ca_file: str, server_context: ssl.SSLContext
) -> None:
    tls = Tls(ca=ca_file, server_name="feed.example")
    patience = Patience(attempts=2, silence_s=0.5, backoff_base_s=0)
    async with (
        serving(FaultyService(3), ssl=server_context) as address,
        SnapshotClient(address, tls=tls, patience=patience) as client,
    ):
        with pytest.raises(SyncUnavailable):
            await anext(client.sync())
