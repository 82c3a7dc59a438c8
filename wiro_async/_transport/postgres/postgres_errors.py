"""What an error of PostgreSQL means for a journal, and what to do about it.

Errors of the driver hold frames whose local variables contain the password. So they are put into words here and never
raised on.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from wiro_async._errors import ConfigurationError
from wiro_async._redaction import HIDDEN

# What the failed statement can expect: it passes at once, as another transaction was in its way; it may pass with
# another connection; only this statement is wrong; no statement will pass.
Hope: TypeAlias = Literal["again", "retry", "statement", "none"]
SCHEMES: Final = ("postgresql://", "postgres://")
# By SQLSTATE, the longest prefix first: what went wrong and what to do.
REASONS: Final = {
    "28P01": "the user name or the password is wrong. Correct the URL",
    "28": "the server does not let this user in. Check the user name in the URL and the server's pg_hba.conf",
    "3D000": "there is no such database. Create it, or correct the URL",
    "3F000": "the search_path names no schema that exists. Create one, or set another search_path",
    "42501": "this user has no permission for it. Let the owner run GRANT CREATE, USAGE ON SCHEMA … TO the user, or "
    "use another user. Tables that exist need SELECT, INSERT, UPDATE and DELETE",
    "42P01": "a table of the journal was removed. Restore the database from a backup; with a new journal everything "
    "would be submitted, and billed, again",
    "25006": "the server only allows reads, as a replica does. Give the URL of the primary server",
    "53100": "the server's disk is full. Make room there",
    "53300": "the server has no connection left. Raise max_connections, or close other connections",
    "22021": "PostgreSQL cannot store the character U+0000. Give the run another key",
    "54000": "an entry is too large. Give the run a key of at most 2000 bytes",
    "57P03": "the server is starting or stopping. Wait for it",
    "57014": "the statement took too long, or was canceled. Look for locks in pg_stat_activity",
    "26000": "the connection pooler gives each transaction another connection. Use it in session mode, or connect "
    "to PostgreSQL itself",
    "42P05": "the connection pooler gives each transaction another connection. Use it in session mode, or connect "
    "to PostgreSQL itself",
}
HOST: Final = re.compile(r"(\[[\da-fA-F:.]+\]|[^:\[\]]*)(:\d*)?")
NEEDS_TLS: Final = "the server requires TLS. Add ?sslmode=require to the URL"
NO_TLS: Final = "the server does not offer TLS, which the URL requires. Set it up there, or change sslmode in the URL"
UNREACHABLE: Final = "Check the host and the port in the URL, and that the server runs and can be reached from here"
PERMANENT: Final = ("28", "3D", "3F", "42")
OF_THE_STATEMENT: Final = ("21", "22", "23", "54")


@attrs.frozen
class DatabaseUrl:
    """The URL of a database. `str` and `repr` leave out the user, the password and all options."""

    secret: str = attrs.field(repr=False)

    def check(self) -> None:
        """Raise `ConfigurationError` if it cannot be read. No frame of the traceback holds it in a local variable."""
        if not self._is_readable():
            raise ConfigurationError(
                "the URL of the journal cannot be read. Give it as postgresql://user:password@host:5432/database, "
                "with special characters of the password percent-encoded"
            )

    def __str__(self) -> str:
        if not self._is_readable():
            return f"postgresql://{HIDDEN}"
        parts = urlsplit(self.secret)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""
        parts = urlsplit(self.secret)
        passwords = [parts.password or "", *parse_qs(parts.query).get("password", ())]
        return tuple({text for password in passwords for text in (password, unquote(password)) if text})

    def _is_readable(self) -> bool:
        try:
            parts = urlsplit(self.secret)
        except ValueError:
            return False
        # A password with a slash ends the host early: the rest of it is taken for a port, or stands in the path.
        hosts = parts.netloc.rpartition("@")[2].split(",")
        return self.secret.startswith(SCHEMES) and "@" not in parts.path and all(map(HOST.fullmatch, hosts))


def load() -> Any:
    """Import the driver, which comes without types. Takes a while. Raises `ConfigurationError` if it is missing."""
    try:
        import asyncpg
    except ImportError:
        raise ConfigurationError(
            'a journal in PostgreSQL needs another library: pip install "wiro-async[postgres]"'
        ) from None
    return asyncpg


def hope(error: BaseException) -> Hope:
    """Decide what a statement that failed with this error can expect."""
    if isinstance(error, load().DataError):
        return "statement"
    state = sqlstate(error)
    if state is not None and state.startswith("40"):
        return "again"
    if state is None or state.startswith(("25", "57", "53", "55", "08", "58", "XX")):
        return "retry"
    if state.startswith(OF_THE_STATEMENT):
        return "statement"
    return "none" if state.startswith(PERMANENT) or state == "26000" else "statement"


def sqlstate(error: BaseException) -> str | None:
    """Return the code of an error that the server reported."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def reason(error: BaseException, url: DatabaseUrl) -> str:
    """Describe an error in one sentence and give the remedy. It holds no password."""
    state, message = sqlstate(error), _message(error)
    if state is not None and state.startswith("28") and ("no encryption" in message or "SSL off" in message):
        text = f"{message}: {NEEDS_TLS}"
    elif state is not None:
        known = (remedy for prefix, remedy in REASONS.items() if state.startswith(prefix))
        text = f"{message} ({state}): {next(known, 'Look into the log of the server')}"
    elif isinstance(error, ssl.SSLError):
        text = f"the TLS handshake failed ({message}). Check sslmode and sslrootcert in the URL"
    elif "rejected SSL upgrade" in message:
        text = NO_TLS
    elif isinstance(error, TimeoutError):
        text = f"no response in time. {UNREACHABLE}"
    elif isinstance(error, OSError):
        words = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else message
        text = f"{words}. {UNREACHABLE}"
    else:
        text = f"{type(error).__name__}: {message}"
    for secret in url.secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _message(error: BaseException) -> str:
    # Details and hints of the server may show values. Its message alone does not.
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else next(iter(str(error).splitlines()), "") or type(error).__name__
