"""What the cache raises; the rest is in outbox.errors."""

from outbox.errors import CatalogStreamError


class CacheUnavailable(CatalogStreamError):
    """The cache's Redis could not be reached, was too slow, or refused."""


class CacheClosed(CatalogStreamError):
    """The cache was lost, or is being emptied; nothing in it may be read or written now."""


class CacheTakenOver(CatalogStreamError):
    """Viewers of another version, or for another CDN, have begun since, and make the pages now."""
