"""What ends a measurement."""


class BenchmarkFailed(Exception):
    """Base of the three below; the docstring of each is its message."""


class ProgramEnded(BenchmarkFailed):
    """A program that was being measured has ended; its last words follow."""


class EventsMissing(BenchmarkFailed):
    """Events did not come: there must be as many in the stream as were committed."""


class ItemsMissing(BenchmarkFailed):
    """A sync did not bring the items that it should have brought."""
