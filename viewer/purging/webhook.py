"""Tells somebody else what was purged. It never holds up purging."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, ClientTimeout
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from outbox.errors import CatalogStreamError
from viewer.purging.message import SIGNATURE_HEADER, signature
from viewer.purging.outcome import Outcome
from viewer.reports import HookEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity.wait import wait_base

    from viewer.purging.message import Message
    from viewer.reports import ObservePurges
    from viewer.settings import Webhook

_OK, _REDIRECTED, _REFUSED, _FAILED = 200, 300, 400, 500
_LATER = (408, 425, 429)


class HookRefused(CatalogStreamError):
    """The webhook does not take the message, and would not the next time."""


class HookUnavailable(CatalogStreamError):
    """The webhook could not be reached, or failed; it may take the message later."""


@dataclass(frozen=True, slots=True)
class Patience:
    """With a webhook that is down."""

    max_waiting: int = 1000
    """Messages; what comes then is dropped."""
    attempts: int = 6
    wait: wait_base = field(default_factory=lambda: wait_random_exponential(0.2, 10))
    timeout_s: float = 5.0


_PATIENCE = Patience()


class Hook:
    """The webhook, and what waits for it."""

    def __init__(
        self,
        session: ClientSession,
        settings: Webhook,
        observe: ObservePurges,
        patience: Patience = _PATIENCE,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._settings = settings
        self._observe = observe
        self._waiting: asyncio.Queue[Message] = asyncio.Queue(patience.max_waiting)
        self._patience = patience
        self._clock = clock

    def tell(self, message: Message) -> None:
        """Send it as soon as those before it are done with; drop it if too many are waiting."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._observe(HookEnded(Outcome.DROPPED, "too many messages are waiting"))

    async def run(self) -> None:
        """Send one message after the other, until cancelled."""
        while True:
            message = await self._waiting.get()
            try:
                ended = await self._sent(message)
            finally:
                self._waiting.task_done()
            self._observe(ended)

    async def drain(self, *, within_s: float) -> None:
        """Give what waits a moment; what is left then is dropped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), within_s)
        while not self._waiting.empty():
            self._waiting.get_nowait()
            self._observe(HookEnded(Outcome.DROPPED, "the invalidator has ended"))

    async def _sent(self, message: Message) -> HookEnded:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(HookUnavailable),
                stop=stop_after_attempt(self._patience.attempts),
                wait=self._patience.wait,
                reraise=True,
            ):
                with attempt:
                    await self._send(message.body)
        except (HookUnavailable, HookRefused) as exc:
            return HookEnded(Outcome.FAILED, str(exc))
        return HookEnded(Outcome.SENT)

    async def _send(self, body: bytes) -> None:
        # Signed anew each time: whoever checks may not take what is old.
        signed = signature(body, self._settings.secret, at_s=int(self._clock()))
        headers = {SIGNATURE_HEADER: signed, "Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._settings.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=ClientTimeout(total=self._patience.timeout_s),
            ) as response:
                status = response.status
        except (ClientError, OSError, TimeoutError) as exc:
            # Its own words hold the URL.
            raise HookUnavailable(f"the webhook cannot be reached: {type(exc).__name__}") from exc
        if _OK <= status < _REDIRECTED:
            return
        if status >= _FAILED or status in _LATER:
            raise HookUnavailable(f"the webhook answered {status}")
        raise HookRefused(f"the webhook answered {status}")
