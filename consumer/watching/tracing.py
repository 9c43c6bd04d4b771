"""Spans that continue what a writer began, where OpenTelemetry is installed.

A writer that sets `traceparent` has it in its event. To handle such an event is a span with a link
to the writer's: the writer did not wait for it, and others handle the event too.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from consumer.event import Event

_NAME = "consumer"
_FEWEST = 12
"""Names and values of the fields that every event has."""


def traced(
    handler: Callable[[Event], Awaitable[object]], group: str
) -> Callable[[Event], Awaitable[object]]:
    """*handler* in a span of its own for each event that has a `traceparent`."""
    if not _IS_INSTALLED:
        return handler

    @wraps(handler)
    async def in_span(event: Event) -> None:
        # Few have more fields than any event has: looking for one that is not there takes time.
        if len(event.fields()) > _FEWEST and event.traceparent:
            with _span([event], group):
                await handler(event)
        else:
            await handler(event)

    return in_span


def traced_batch(
    handler: Callable[[Sequence[Event]], Awaitable[object]], group: str
) -> Callable[[Sequence[Event]], Awaitable[object]]:
    """The same for whole batches: one span, with a link for each event that has a `traceparent`."""
    if not _IS_INSTALLED:
        return handler

    @wraps(handler)
    async def in_span(events: Sequence[Event]) -> None:
        linked = [event for event in events if event.traceparent]
        if linked:
            with _span(linked, group):
                await handler(events)
        else:
            await handler(events)

    return in_span


def _span(events: Sequence[Event], group: str) -> Any:  # noqa: ANN401 - may not be installed
    first = events[0]
    attributes: dict[str, str | int] = {
        "messaging.system": "redis",
        "messaging.operation.type": "process",
        "messaging.destination.name": first.stream,
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": len(events),
    }
    if len(events) == 1:
        attributes["messaging.message.id"] = first.id
        del attributes["messaging.batch.message_count"]
    return trace.get_tracer(_NAME).start_as_current_span(
        f"process {first.stream}",
        kind=trace.SpanKind.CONSUMER,
        links=list(_links(events)),
        attributes=attributes,
    )


def _links(events: Iterable[Event]) -> Iterable[trace.Link]:
    for event in events:
        carrier = {"traceparent": event.traceparent}
        context = TraceContextTextMapPropagator().extract(carrier)
        found = trace.get_current_span(context).get_span_context()
        if found.is_valid:
            yield trace.Link(found)
