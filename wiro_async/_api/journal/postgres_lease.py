"""The right of one session to send runs: a lease in the database, which nobody else can hold.

A session that is gone must not keep others waiting, and one that only seems to be gone must not send a run that others
have meanwhile searched for. So the session renews a lease. Others may take over what it left only once the lease has
expired, and only after they have fenced its owner: from then on no renewal succeeds. Renewing and fencing change the
same row, so the database puts them in order.

The session itself trusts a renewal for half of the lease, counted by a clock that never jumps from before the renewal
was sent. So a process that was stopped, or a machine that slept, notices before it sends anything. The other half
forgives a database whose clock is set forward.
"""

from __future__ import annotations

import logging
from typing import Final
from uuid import uuid4

from wiro_async._api.journal import postgres_schema
from wiro_async._api.journal.postgres_schema import JournalPlace
from wiro_async._errors import JournalError
from wiro_async._transport import clock
from wiro_async._transport.postgres.postgres_connection import DatabaseConnection

logger = logging.getLogger("wiro_async")
TRUST: Final = 0.5  # part of a lease for which its holder relies on it
RENEW: Final = """
INSERT INTO @_owners AS o VALUES ($1, clock_timestamp() + make_interval(secs => $2), 1, false)
ON CONFLICT (owner) DO UPDATE SET lease_until = excluded.lease_until, renewals = o.renewals + 1
RETURNING fenced, renewals
"""
RETIRE: Final = "DELETE FROM @_owners WHERE owner = $1"
FORGET: Final = "DELETE FROM @_owners WHERE lease_until < clock_timestamp() - make_interval(secs => $1)"
FORGOTTEN: Final = 7 * 86400.0


class PostgresLease:
    """The lease of one session, and where the journal lies. Its coroutines run in the thread of the connections.

    Args:
        seconds: how long others wait for a session that is gone.

    Attributes:
        owner: the name of the present holder. A new one after the lease was lost.
        place: where the tables lie, once it has begun.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._trusted_until = 0.0
        self._renewals = 0
        self.owner = uuid4().hex
        self.place = JournalPlace("", "")

    @property
    def left(self) -> float:
        """Seconds for which runs may still be sent without asking the database."""
        return self._trusted_until - clock.since_boot()

    async def begin(self, connection: DatabaseConnection) -> None:
        """Find or make the tables. Raises `JournalError`."""
        self.place = await postgres_schema.prepare(connection)
        await connection.execute(self.place.sql(FORGET), FORGOTTEN)

    async def renew(self, connection: DatabaseConnection) -> None:
        """Take or renew the lease. If it was lost, take another one under a new name.

        Raises:
            JournalError: the database does not know what it has confirmed.
        """
        while True:
            began, owner, renewals = clock.since_boot(), self.owner, self._renewals
            row = await connection.fetchrow(self.place.sql(RENEW), owner, self._seconds)
            assert row is not None
            if owner != self.owner:  # both connections saw that it was lost
                continue
            if not row["fenced"] and row["renewals"] > renewals:
                self._renewals = max(self._renewals, row["renewals"])
                self._trusted_until = began + TRUST * self._seconds
                return
            if not row["fenced"] and began < self._trusted_until + FORGOTTEN - self._seconds:
                raise JournalError(
                    "the database of the journal has lost entries that it had confirmed: it was restored from a "
                    "backup, or a replica took over that was behind. Runs whose entries are lost would be billed "
                    "again. Compare its entries with the tasks of your account, then start again"
                )
            logger.warning("the lease of this session in its journal expired; it takes another one")
            self.owner, self._renewals = uuid4().hex, 0

    async def end(self, connection: DatabaseConnection) -> None:
        """Give the lease back, so that nobody has to wait for its end."""
        await connection.execute(self.place.sql(RETIRE), self.owner)
