"""Who keeps copies is told what was purged, and can tell that it was us."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web
from publishing import eventually
from tenacity import wait_none
from viewing import name_of, store_at

from consumer.event import Event, Group
from process import http
from process.address import Address
from process.redis.connection import client
from viewer.cache.store import Place
from viewer.keys import Kind
from viewer.purging.invalidator import Invalidator
from viewer.purging.message import SIGNATURE_HEADER, Message
from viewer.purging.outcome import Outcome
from viewer.purging.webhook import Hook, Patience
from viewer.reports import HookEnded, InvalidatorReport
from viewer.settings import Webhook

SECRET = "hunter2"  # noqa: S105
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/viewer.md"


class Receiver:
    """A webhook that answers as it is told, and otherwise well."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.got: list[tuple[str, bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.headers[SIGNATURE_HEADER], await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    served = web.Application()
    served.router.add_post("/purge", receiver.take)
    async with http.serving(served, Address("127.0.0.1", 0), variable="NONE") as address:
        receiver.url = f"http://{address}/purge"
        yield receiver


@asynccontextmanager
async def hooked(
    url: str,
    observe: Callable[[InvalidatorReport], None],
    **patience: Any,  # noqa: ANN401
) -> AsyncIterator[Hook]:
    quick = replace(Patience(wait=wait_none(), attempts=3), **patience)
    async with ClientSession() as session:
        hook = Hook(session, Webhook(url, SECRET), observe, quick)
        sending = asyncio.create_task(hook.run())
        try:
            yield hook
        finally:
            sending.cancel()


async def test_what_was_purged_is_told_and_signed(redis_url: str) -> None:
    reports: list[InvalidatorReport] = []
    async with (
        store_at(redis_url) as store,
        client(redis_url) as redis,
        receiving() as receiver,
        hooked(receiver.url, reports.append) as hook,
    ):
        page = name_of(Kind.EPISODE, "pond")
        place = await store.look(page)
        assert isinstance(place, Place)
        body = b'{"playback":{"manifestUrl":"https://cdn/a.m3u8"}}'
        await store.fill(page, body, ["episode:1"], place, ttl_s=9)
        invalidator = Invalidator(redis, store, reports.append, hook=hook)
        await invalidator.purge([event("1-0", "1"), event("1-1", "2")])
        await invalidator.begin(Group("catalog:events", "cache-invalidator"))
        await hook.drain(within_s=5)
        [(signed, first), (_, second)] = receiver.got
        told = json.loads(first)
        assert told["keys"] == ["catalog:episode:pond"]
        assert told["manifestUrls"] == ["https://cdn/a.m3u8"]
        assert told["eventIds"] == ["1-0", "1-1"]
        assert told["tags"] == ["episode:1", "episode:2", "members:s"]
        assert not told["everything"]
        assert json.loads(second)["everything"]

        is_genuine = documented_check()
        assert is_genuine(signed, first, SECRET)
        assert not is_genuine(signed, first, "guess")
        assert not is_genuine(signed, first + b" ", SECRET)
        assert not is_genuine(re.sub(r"t=\d+", "t=1795347471", signed), first, SECRET)
        assert not is_genuine(signed, first, SECRET, within_s=-1)
        assert not is_genuine("", first, SECRET)


async def test_a_webhook_that_fails_is_tried_again_and_one_that_refuses_is_not() -> None:
    reports: list[InvalidatorReport] = []
    async with receiving() as receiver, hooked(receiver.url, reports.append) as hook:
        for answers, outcome, attempts in (
            ([500, 503, 204], Outcome.SENT, 3),
            ([429, 408, 200], Outcome.SENT, 3),
            ([500, 500, 500], Outcome.FAILED, 3),
            ([404], Outcome.FAILED, 1),
            ([302], Outcome.FAILED, 1),
        ):
            receiver.got.clear()
            reports.clear()
            receiver.answers = list(answers)
            hook.tell(Message(id="1", tags=["episode:1"]))
            await hook.drain(within_s=5)
            await ended(reports, 1)
            assert [one.outcome for one in reports if isinstance(one, HookEnded)] == [outcome]
            assert len(receiver.got) == attempts
            assert len({body for _, body in receiver.got}) == 1
        assert "hunter2" not in str(reports)


async def test_a_webhook_that_is_down_holds_up_no_purge_and_what_is_dropped_is_counted(
    redis_url: str,
) -> None:
    reports: list[InvalidatorReport] = []
    async with (
        store_at(redis_url) as store,
        client(redis_url) as redis,
        hanging() as url,
        hooked(url, reports.append, max_waiting=2, timeout_s=60) as hook,
    ):
        invalidator = Invalidator(redis, store, reports.append, hook=hook)
        async with asyncio.timeout(5):
            for number in range(20):
                await invalidator.purge([event(f"1-{number}", "1")])
        await hook.drain(within_s=0.01)
        dropped = [one for one in reports if isinstance(one, HookEnded)]
        # One is on its way, two wait.
        assert len(dropped) >= 19
        assert {one.outcome for one in dropped} == {Outcome.DROPPED}


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """The address of a server that never answers."""
    open_: list[asyncio.StreamWriter] = []

    def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            for writer in open_:
                writer.close()
                await writer.wait_closed()


async def ended(reports: list[InvalidatorReport], times: int) -> None:
    async def have_ended() -> bool:
        return sum(isinstance(report, HookEnded) for report in reports) >= times

    await eventually(have_ended)


def event(event_id: str, episode: str) -> Event:
    fields = {
        "type": "catalog.updated",
        "entity": "episode",
        "entityId": episode,
        "operation": "update",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "payload": '{"seriesId":"s"}',
    }
    return Event.of("catalog:events", event_id, fields)


def documented_check() -> Callable[..., bool]:
    """The function that the document gives to the gateway's team."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102 - our own
    check: Callable[..., bool] = found["is_genuine"]
    return check
