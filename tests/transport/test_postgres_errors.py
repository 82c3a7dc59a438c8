"""What errors of PostgreSQL mean, as a table."""

from __future__ import annotations

import ssl

import pytest

from wiro_async._transport.postgres.postgres_errors import DatabaseUrl, Hope, hope, load, reason

URL = DatabaseUrl("postgresql://user:hidden-word@host/db")


def of_server(state: str, message: str = "it failed", detail: str = "") -> Exception:
    """Return the error that the driver raises for a report of the server."""
    error: Exception = load().PostgresError.new({"C": state, "M": message, "D": detail, "S": "ERROR"})
    return error


@pytest.mark.parametrize(
    "error, expected",
    [
        (of_server("40001"), "again"),  # serialization failure
        (of_server("40P01"), "again"),  # deadlock
        (of_server("08006"), "retry"),  # connection failure
        (of_server("57014"), "retry"),  # statement timeout
        (of_server("57P01"), "retry"),  # shutdown
        (of_server("55P03"), "retry"),  # lock timeout
        (of_server("53300"), "retry"),  # too many connections
        (of_server("53100"), "retry"),  # disk full
        (of_server("25006"), "retry"),  # a replica, until the primary is back under this name
        (of_server("22021"), "statement"),
        (of_server("23514"), "statement"),
        (of_server("54000"), "statement"),
        (of_server("42P01"), "none"),
        (of_server("42501"), "none"),
        (of_server("26000"), "none"),
        (load().DataError("wrong type"), "statement"),
        (load().InterfaceError("connection is closed"), "retry"),
        (ConnectionResetError("reset"), "retry"),
        (TimeoutError(), "retry"),
    ],
)
def test_what_a_failed_statement_can_expect(error: Exception, expected: Hope) -> None:
    """Only what another attempt can mend is repeated."""
    assert hope(error) == expected


@pytest.mark.parametrize(
    "error, said",
    [
        (of_server("28000", 'no pg_hba.conf entry for host "h", user "u", no encryption'), "sslmode=require"),
        (of_server("28000", "role is not permitted to log in"), "pg_hba.conf"),
        (of_server("25006"), "primary"),
        (of_server("53300"), "max_connections"),
        (of_server("99999"), "log of the server"),
        (ssl.SSLError("certificate verify failed"), "sslrootcert"),
        (ConnectionRefusedError(111, "Connect call failed ('::1', 1)"), "connection refused. Check the host"),
        (TimeoutError(), "no response in time"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_remedy(error: Exception, said: str) -> None:
    """Each reason says what to do."""
    assert said in reason(error, URL)


def test_values_and_secrets_are_left_out() -> None:
    """The server's details may show values, and messages of the driver the password."""
    error = of_server("23505", "duplicate key", "Key (token)=(hidden-token) exists")
    assert "hidden" not in reason(error, URL) + reason(OSError("could not resolve hidden-word@host"), URL)
