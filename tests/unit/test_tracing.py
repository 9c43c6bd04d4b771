"""Handling an event continues the writer's trace, as a span with a link to it."""

from collections.abc import Iterator, Sequence

import pytest
from consumed import event
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spans import links, recorded

from consumer.event import Event
from consumer.watching.tracing import traced, traced_batch

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recorded() as spans:
        yield spans


async def test_an_event_with_a_traceparent_is_handled_in_a_span_linked_to_the_writers(
    spans: InMemorySpanExporter,
) -> None:
    inside: list[bool] = []

    async def handler(_: Event) -> None:
        inside.append(trace.get_current_span().is_recording())

    handle = traced(handler, "search")
    await handle(event(1, traceparent=TRACEPARENT))
    await handle(event(2))
    await handle(event(3, traceparent="nonsense"))

    assert inside == [True, False, True]
    assert links(spans) == [[SPAN], []]
    first = spans.get_finished_spans()[0]
    assert first.name == "process catalog:events"
    assert first.kind is trace.SpanKind.CONSUMER
    assert first.attributes is not None
    assert first.attributes["messaging.consumer.group.name"] == "search"
    assert first.attributes["messaging.message.id"] == event(1).id
    # A link, and no parent: the writer's trace has ended.
    assert first.parent is None


async def test_a_batch_is_one_span_with_a_link_for_each_traceparent(
    spans: InMemorySpanExporter,
) -> None:
    async def handler(_: Sequence[Event]) -> None:
        """Nothing to do."""

    handle = traced_batch(handler, "search")
    await handle([event(1), event(2, traceparent=TRACEPARENT), event(3, traceparent=TRACEPARENT)])
    await handle([event(4)])
    assert links(spans) == [[SPAN, SPAN]]
