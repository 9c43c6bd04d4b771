"""What PostgreSQL's errors mean to a worker."""

import asyncpg
import pytest

from outbox.connection import translated
from outbox.errors import OutboxForbidden, OutboxMissing, OutboxUnavailable, OutboxUnreadable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.ReadOnlySQLTransactionError("a standby"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InternalServerError("cache lookup failed for function 16401"),
        ConnectionRefusedError("refused"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_unavailable(error: Exception) -> None:
    with pytest.raises(OutboxUnavailable), translated():
        raise error


def test_a_database_without_the_schema_says_what_to_do() -> None:
    with pytest.raises(OutboxMissing, match=r"schema\.sql"), translated():
        raise asyncpg.UndefinedTableError


def test_a_role_without_the_rights_says_which_to_grant() -> None:
    with pytest.raises(OutboxForbidden, match="outbox_publisher"), translated():
        raise asyncpg.InsufficientPrivilegeError("permission denied for table tick")


def test_a_database_that_does_not_exist_is_looked_for_in_the_setting() -> None:
    with pytest.raises(OutboxMissing, match="DATABASE_URL"), translated():
        raise asyncpg.InvalidCatalogNameError('database "catalogue" does not exist')


def test_an_event_that_cannot_be_packed_is_unreadable_for_good() -> None:
    with pytest.raises(OutboxUnreadable), translated():
        raise asyncpg.NumericValueOutOfRangeError("smallint out of range")


def test_an_error_of_ours_stays_what_it_is() -> None:
    with pytest.raises(asyncpg.UndefinedColumnError), translated():
        raise asyncpg.UndefinedColumnError
