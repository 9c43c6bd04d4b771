"""What a search runs into."""

from __future__ import annotations

from outbox.errors import CatalogStreamError


class IndexMissing(CatalogStreamError):
    """There is no search index at SEARCH_INDEX yet: make run, or python -m consumer search."""


class IndexUnusable(CatalogStreamError):
    """The search index at SEARCH_INDEX cannot be read or written."""
