"""What ends a measurement."""


class BenchmarkFailed(Exception):
    """Base of those below; the docstring of each is its message."""


class ProgramEnded(BenchmarkFailed):
    """A program that was being measured has ended; its last words follow."""


class EventsMissing(BenchmarkFailed):
    """Events did not come: there must be as many in the stream as were committed."""


class ItemsMissing(BenchmarkFailed):
    """A sync did not bring the items that it should have brought."""


class PagesNotCached(BenchmarkFailed):
    """Pages did not come from where they were to come from: the cache, or the catalog."""
