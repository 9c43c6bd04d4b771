"""Dead letters are handled once more, or given up, by the member that reads their stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from consumer.letters.requests import Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from consumer.letters.dead_letters import DeadLetters, Failure, Letter
    from consumer.letters.requests import Requests


class Host(Protocol):
    """What settling needs of whoever handles the stream's events."""

    async def alone(self, entity_id: str, job: Callable[[], Awaitable[None]]) -> None:
        """Run *job* in the entity's lane: no event of it is handled meanwhile."""

    async def handle(self, letter: Letter) -> Failure | None:
        """Hand it to the handler, once; what it failed of."""

    def is_parked(self, entity_id: str) -> bool:
        """Whether the entity's events are set aside as they come."""

    async def unpark(self, entity_id: str) -> None:
        """They are handled again."""


class _Place(NamedTuple):
    letter_id: str
    event_id: str


class Settling:
    """Does what is wanted of a stream's dead letters. Raises StreamUnavailable or RedisRefused.

    Broken off anywhere, the next call goes on: what is not settled is still wanted.
    """

    def __init__(self, letters: DeadLetters, requests: Requests, host: Host) -> None:
        self._letters, self._requests, self._host = letters, requests, host

    async def settle(self) -> None:
        """Entity by entity, each in its order."""
        if not (wanted := await self._requests.open()):
            return
        known, last = await self._places("-")
        there = {place.event_id for places in known.values() for place in places}
        await self._requests.settled(wanted.keys() - there)
        for entity_id, places in known.items():
            if any(place.event_id in wanted for place in places):
                await self._settle(entity_id, places, last, wanted)

    async def _settle(
        self, entity_id: str, known: Sequence[_Place], last: str, wanted: Mapping[str, Wish]
    ) -> None:
        async def job() -> None:
            # What was set aside since, while the lane was at other things.
            since, _ = await self._places(last)
            await self._settle_all(entity_id, [*known, *since.get(entity_id, [])], wanted)

        await self._host.alone(entity_id, job)

    async def _settle_all(
        self, entity_id: str, places: Sequence[_Place], wanted: Mapping[str, Wish]
    ) -> None:
        parked = self._host.is_parked(entity_id)
        wishes = [wanted.get(place.event_id) for place in places]
        if parked and Wish.REQUEUE in wishes:
            # Nothing of it overtakes: what waits for the one that is wanted is handled, too.
            wishes = [wish or Wish.REQUEUE for wish in wishes]
        left, failed, settled = False, "", set()
        for place, wish in zip(places, wishes, strict=True):
            if place.event_id in settled:
                # Who set it aside died before it was acknowledged, so it was set aside again.
                await self._letters.remove(place.letter_id)
            elif wish is Wish.REQUEUE and failed:
                await self._requests.failed(place.event_id, f"{failed} failed before it")
                left = True
            elif wish is None or (wish is Wish.REQUEUE and not await self._handled(place)):
                left = True
                failed = place.event_id if parked and wish else failed
            else:
                await self._letters.remove(place.letter_id)
                await self._requests.settled([place.event_id])
                settled.add(place.event_id)
        if parked and not left:
            await self._host.unpark(entity_id)

    async def _handled(self, place: _Place) -> bool:
        letter = await self._letters.get(place.letter_id)
        failure = await self._host.handle(letter) if letter else None
        if failure:
            await self._requests.failed(place.event_id, failure.error)
        return failure is None

    async def _places(self, after: str) -> tuple[dict[str, list[_Place]], str]:
        """Of the letters behind *after*, by entity, in order; and the last letter's ID."""
        found: dict[str, list[_Place]] = {}
        async for letter in self._letters.letters(after):
            found.setdefault(letter.entity_id, []).append(_Place(letter.id, letter.event_id))
            after = letter.id
        return found, after
