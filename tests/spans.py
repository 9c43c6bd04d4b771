"""The spans that a test makes."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

_EXPORTER = InMemorySpanExporter()


@contextmanager
def recorded() -> Iterator[InMemorySpanExporter]:
    """Those that end meanwhile."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        # A process has one for good.
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_EXPORTER))
        trace.set_tracer_provider(provider)
    _EXPORTER.clear()
    yield _EXPORTER


def links(spans: InMemorySpanExporter) -> list[list[str]]:
    """The span that each link of each of *spans* leads to."""
    return [
        [format(link.context.span_id, "016x") for link in span.links]
        for span in spans.get_finished_spans()
    ]
