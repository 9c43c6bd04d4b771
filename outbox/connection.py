"""Connections to PostgreSQL: how they are opened, and what their errors mean."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from outbox.errors import (
    OutboxForbidden,
    OutboxMissing,
    OutboxReplaced,
    OutboxUnavailable,
    OutboxUnreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The planner must not read a whole partition because it does not know how little of it is new.
SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    # The client has time-outs of its own; another would stop a large tick for ever.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "TimeZone": "UTC",
}
"""What connections that read ticks and events are opened with."""

_REPLACED = "OB001"
"""What make_tick() raises in another incarnation than the one it was asked for."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise OutboxUnavailable for what may pass, OutboxMissing where there is no schema.

    OutboxForbidden where the role may not do it, OutboxUnreadable for what will be so again, and
    OutboxReplaced where make_tick() says so.
    """
    try:
        yield
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.TransactionRollbackError,
        asyncpg.LockNotAvailableError,
        asyncpg.PostgresSystemError,
        # A password that is being changed; a function that was replaced under a running call.
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InternalServerError,
        asyncpg.InterfaceError,
        # While a lost connection goes back to the pool, asyncpg trips over its own state.
        asyncpg.InternalClientError,
        OSError,
    ) as exc:
        raise OutboxUnavailable(f"PostgreSQL is away: {exc or type(exc).__name__}") from exc
    except asyncpg.InsufficientPrivilegeError as exc:
        raise OutboxForbidden(f"{exc}: grant the role outbox_publisher") from exc
    except (
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedFunctionError,
    ) as exc:
        raise OutboxMissing from exc
    except asyncpg.InvalidCatalogNameError as exc:
        raise OutboxMissing(f"{exc}: look at DATABASE_URL") from exc
    except (asyncpg.DataError, asyncpg.ProgramLimitExceededError) as exc:
        raise OutboxUnreadable(f"PostgreSQL cannot hand over an event: {exc}") from exc
    except asyncpg.PostgresError as exc:
        if exc.sqlstate == _REPLACED:
            raise OutboxReplaced from exc
        raise
