"""What ends a measurement."""


class BenchmarkFailed(Exception):
    """Base of the two below; the docstring of each is its message."""


class ProgramEnded(BenchmarkFailed):
    """A program that was being measured has ended; its last words follow."""


class EventsMissing(BenchmarkFailed):
    """Events did not come: there must be as many in the stream as were committed."""
