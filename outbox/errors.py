"""One family of errors, each named by what happened; the docstring is the message."""

from __future__ import annotations


class CatalogStreamError(Exception):
    """Something between the catalog and the stream went wrong."""

    def __str__(self) -> str:
        """Its own words if it was given any, else its docstring."""
        return super().__str__() or (type(self).__doc__ or "").strip()


class BadSetting(CatalogStreamError):
    """An environment variable is missing, or its value cannot be used."""


class BadPosition(CatalogStreamError):
    """A position is not of the form <milliseconds>-<number>."""


class OutboxUnavailable(CatalogStreamError):
    """PostgreSQL could not be reached or timed out; the same call may succeed later."""


class OutboxReplaced(CatalogStreamError):
    """Another server, or another database, answers than the one that was settled for."""


class OutboxMissing(CatalogStreamError):
    """The database has no outbox: apply schema.sql (make schema)."""


class OutboxForbidden(CatalogStreamError):
    """The role that is connected to the database may not do this."""


class OutboxDamaged(CatalogStreamError):
    """Events that a tick counted are no longer in the outbox."""


class OutboxUnreadable(CatalogStreamError):
    """PostgreSQL cannot hand over events as they are; the same call fails again."""


class LeaseLost(CatalogStreamError):
    """Somebody else holds the lease by now."""


class StreamUnavailable(CatalogStreamError):
    """Redis could not be reached or timed out; the same call may succeed later."""


class StreamRefused(CatalogStreamError):
    """Redis answered that it will not write now; nothing was advanced."""

    def __init__(self, reason: str, answer: str) -> None:
        super().__init__(f"Redis refused to append: {answer}")
        self.reason = reason
        """The first word of the answer: OOM, READONLY, MISCONF, LOADING, WRONGTYPE, NOAUTH, ..."""
