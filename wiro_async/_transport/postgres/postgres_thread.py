"""A PostgreSQL database, used from a thread with an event loop of its own.

A lease must be renewed while the app's event loop is blocked, and a driver that waits in that loop could not. So all
connections live in a thread. One carries statements. The other one carries the pulse, which renews the lease, and
notifications, so that neither waits for a slow statement.

Statements that are requested while one is on its way share the next round trip and its commit. Those of one key keep
their order. A connection that breaks is replaced, and what it carried is sent again: so each statement must be
idempotent, as its commit may have happened without an answer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import anyio

from wiro_async._errors import ConfigurationError, JournalError
from wiro_async._transport.postgres.postgres_connection import (
    DatabaseConnection,
    PostgresTiming,
    Row,
    check_pooler,
    connect,
)
from wiro_async._transport.postgres.postgres_errors import DatabaseUrl, hope, load, reason
from wiro_async._transport.postgres.postgres_queue import QueuedStatement, ThreadQueue

logger = logging.getLogger("wiro_async")


Step: TypeAlias = Callable[[DatabaseConnection], Awaitable[None]]


class Postgres:
    """The connections to one database.

    Args:
        prepare: runs once, on the first connection. Its `JournalError` says what is wrong with the database.
        pulse: runs regularly on the second connection, and first on each connection that replaces a broken one. Its
            `JournalError` says why the database must not be used any more.
        farewell: runs last, after the last pulse, if the database can be reached.
        on_news: called in the caller's event loop with each notification, and with None after some may have been lost.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        timing: PostgresTiming,
        *,
        prepare: Step,
        pulse: Step,
        farewell: Step,
        channel: Callable[[], str],
        on_news: Callable[[str | None], None],
    ) -> None:
        self.url = url
        self._timing = timing
        self._prepare, self._pulse, self._farewell = prepare, pulse, farewell
        self._channel, self._on_news = channel, on_news
        self._loop: asyncio.AbstractEventLoop  # the caller's
        self._requested: list[QueuedStatement] = []
        self._ended = anyio.Event()
        self._is_begun = False
        self._closed = False
        self._unwritten = 0
        self._queue = ThreadQueue()
        self._away: JournalError | None = None  # why the database cannot be used at present
        self._broken: JournalError | None = None  # why it never will be again

    @property
    def is_well(self) -> bool:
        """Whether the database responded when it was last used."""
        return self._away is None and self._broken is None

    async def open(self) -> None:
        """Connect and prepare. Errors and cancelling leave no connection.

        Raises:
            JournalError: the database cannot be reached or used.
            ConfigurationError: the URL cannot be read, or the library is missing.
        """
        self.url.check()
        self._is_begun = True
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[WiroFailure] = self._loop.create_future()
        threading.Thread(target=self._run, args=(opened,), name="wiro_async journal", daemon=True).start()
        try:
            error = await opened
        except BaseException:
            await self.aclose()
            raise
        if error is not None:
            raise error

    def put(self, sql: str, key: str, values: tuple[object, ...]) -> None:
        """Request a write and do not wait for it. It is written when the database can be reached."""
        self._request(QueuedStatement(sql, key, values, False, None, float("inf")))

    def write(self, sql: str, key: str, values: tuple[object, ...]) -> asyncio.Future[list[Row]]:
        """Request a write as `put` does. The future has its row, once it is written."""
        future: asyncio.Future[list[Row]] = self._loop.create_future()
        future.add_done_callback(_retrieve_error)
        self._request(QueuedStatement(sql, key, values, False, future, float("inf")))
        return future

    async def do(self, sql: str, key: str, values: tuple[object, ...], seconds: float) -> Row | None:
        """Run a statement that returns at most one row. Its first parameter is a number that the row must hold first.

        Args:
            seconds: how long the database may be away before this fails.

        Raises:
            JournalError: the statement failed, or the database is away.
        """
        rows = await self._result(sql, key, values, False, seconds)
        return rows[0] if rows else None

    async def fetch(self, sql: str, values: tuple[object, ...], seconds: float) -> list[Row]:
        """Run a statement that returns any number of rows. Raises `JournalError`."""
        return await self._result(sql, None, values, True, seconds)

    async def beat(self, seconds: float) -> bool:
        """Run the pulse now. Return whether it succeeded within this time."""
        if self._broken is not None or self._closed:
            return False
        beaten: asyncio.Future[None] = self._loop.create_future()
        self._queue.call(self._queue.want_beat, beaten)
        with anyio.move_on_after(seconds):
            await beaten
            return True
        return False

    def abandon(self) -> None:
        """Close without waiting. For sessions that were dropped."""
        self._closed = True
        self._queue.call(self._queue.close)

    async def aclose(self) -> None:
        """Write what was requested and close the connections, within a bounded time.

        Raises:
            JournalError: something could not be written.
        """
        if not self._is_begun:
            return
        self._hand_over()
        self.abandon()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        if self._broken is not None:
            raise JournalError(str(self._broken))
        if self._unwritten:
            raise JournalError(
                f"{self._unwritten} entries could not be written into the journal {self.url}: "
                f"{self._away or 'no response in time'}. Start again with the same journal: their tasks "
                "are followed or searched for, and none is submitted twice"
            )

    async def _result(
        self, sql: str, key: str | None, values: tuple[object, ...], many: bool, seconds: float
    ) -> list[Row]:
        if self._closed:
            raise JournalError(f"the journal {self.url} is closed: its session has ended. Use it in another session")
        future: asyncio.Future[list[Row]] = self._loop.create_future()
        self._request(QueuedStatement(sql, key, values, many, future, time.monotonic() + seconds))
        return await future

    def _request(self, call: QueuedStatement) -> None:
        if not self._requested:
            self._loop.call_soon(self._hand_over)  # with everything else that is requested in this turn
        self._requested.append(call)

    def _hand_over(self) -> None:
        calls, self._requested = self._requested, []
        if calls:
            self._queue.call(self._accept, calls)

    def _call_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)

    # What follows runs in the thread.

    def _run(self, opened: asyncio.Future[WiroFailure]) -> None:
        loop = asyncio.new_event_loop()
        try:
            load()
            loop.run_until_complete(self._serve(opened))
        except ConfigurationError as error:
            self._call_in_loop(_answer, opened, error)
        except Exception as error:
            failure = error if isinstance(error, JournalError) else self._failure("cannot be opened", error)
            self._call_in_loop(_answer, opened, failure)
        finally:
            self._queue.end()
            loop.close()
            self._call_in_loop(self._ended.set)

    async def _serve(self, opened: asyncio.Future[WiroFailure]) -> None:
        queue = self._queue.start()
        opening, closing = asyncio.ensure_future(self._open()), asyncio.ensure_future(queue.closing.wait())
        await asyncio.wait([opening, closing], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            return
        try:
            first, second = opening.result()
        except BaseException:
            closing.cancel()
            raise
        self._call_in_loop(_answer, opened, None)
        jobs = [asyncio.ensure_future(self._keep_pulse(second)), asyncio.ensure_future(self._keep_writing(first))]
        for job in jobs:
            job.add_done_callback(self._note_ended)
        await closing
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.close):
                await asyncio.gather(*jobs, return_exceptions=True)
        self._unwritten = sum(call.deadline == float("inf") for call in queue.calls)
        self._fail(queue.take_all(), self._away or self._failure("is closed", TimeoutError()))

    async def _open(self) -> tuple[DatabaseConnection, DatabaseConnection]:
        first = await self._connect()
        second: DatabaseConnection | None = None
        try:
            second = await self._connect()
            await check_pooler(first, second)
            await self._prepare(first)
            await self._pulse(second)
            await self._listen(second)
        except BaseException:
            _terminate(first)
            _terminate(second)
            raise
        return first, second

    async def _connect(self) -> DatabaseConnection:
        return await connect(self.url, self._timing)

    async def _listen(self, connection: DatabaseConnection) -> None:
        def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            self._call_in_loop(self._on_news, str(payload))

        await connection.add_listener(self._channel(), heard)

    def _note_ended(self, job: asyncio.Future[None]) -> None:
        if not job.cancelled() and (error := job.exception()) is not None:
            self._break(self._failure("cannot be used any more", error))

    def _accept(self, calls: list[QueuedStatement]) -> None:
        if self._broken is not None:
            self._fail(calls, self._broken)
        else:
            self._queue.accept(calls)

    async def _keep_pulse(self, connection: DatabaseConnection | None) -> None:
        """Run the pulse regularly. Replace the connection when it breaks."""
        queue, timing, pause = self._queue, self._timing, self._timing.pause
        try:
            while not queue.closing.is_set():
                wanted = queue.take_beats()
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._connect()
                        await self._listen(connection)
                        self._call_in_loop(self._on_news, None)
                    async with asyncio.timeout(timing.pulse):
                        await self._pulse(connection)
                except JournalError as error:
                    self._break(error)
                    return
                except Exception as error:
                    _terminate(connection)
                    connection = None
                    self._note_away(error)
                    queue.return_beats(wanted)
                    await queue.sleep(pause)
                    pause = min(pause * 2, timing.max_pause)
                    continue
                pause = timing.pause
                self._note_back()
                for beaten in wanted:
                    self._call_in_loop(_answer, beaten, None)
                await queue.wait_for_beat(timing.pulse)
        finally:
            queue.pulse_over.set()
            await _closed(connection)

    async def _keep_writing(self, connection: DatabaseConnection | None) -> None:
        """Run the statements. Replace the connection when it breaks."""
        queue, timing, pause = self._queue, self._timing, self._timing.pause
        try:
            while queue.calls or not queue.closing.is_set():
                if not queue.calls:
                    await queue.wait_for_calls()
                    continue
                connection = await self._write(connection, queue.take_batch(timing.batch))
                if connection is None:
                    await queue.sleep(pause)
                pause = timing.pause if connection is not None else min(pause * 2, timing.max_pause)
            await queue.pulse_over.wait()
            if connection is not None:
                with suppress(Exception):
                    await self._farewell(connection)
        finally:
            await _closed(connection)

    async def _write(
        self, connection: DatabaseConnection | None, batch: list[QueuedStatement]
    ) -> DatabaseConnection | None:
        """Run calls of one statement, and return the connection if it can be used further."""
        is_connected = connection is not None and not connection.is_closed()
        try:
            if connection is None or not is_connected:
                connection = await self._connect()
                await self._pulse(connection)
                is_connected = True
            await self._execute(connection, batch)
        except JournalError as error:
            self._queue.return_calls(batch)
            self._break(error)
        except Exception as error:
            if is_connected and hope(error) == "again":
                self._queue.return_calls(batch)
                return connection
            if not is_connected or hope(error) == "retry":
                self._note_away(error)
                self._queue.return_calls(batch)
                self._expire()
                _terminate(connection)
                return None
            self._refuse(batch, error)
        except BaseException:
            self._queue.return_calls(batch)
            _terminate(connection)
            raise
        else:
            self._call_in_loop(_deliver, batch)
        self._note_back()
        return connection

    async def _execute(self, connection: DatabaseConnection, batch: list[QueuedStatement]) -> None:
        """Run calls of one statement in one round trip and one transaction."""
        first = batch[0]
        if first.many:
            first.rows = list(await connection.fetch(first.sql, *first.values))
            return
        # In the order of their keys, so that two sessions that write the same rows never wait for each other.
        numbered = sorted(enumerate(batch), key=lambda pair: pair[1].key or "")
        rows = await connection.fetchmany(first.sql, [(number, *call.values) for number, call in numbered])
        for row in rows:
            batch[row[0]].rows = [row]

    def _refuse(self, batch: list[QueuedStatement], error: Exception) -> None:
        if hope(error) == "none":
            self._queue.return_calls(batch)
            self._break(self._failure("cannot be used any more", error))
        elif len(batch) == 1:
            self._fail(batch, self._failure("refused an entry", error))
        else:  # one of them is wrong: each goes alone, so that the others are written
            self._queue.split(batch)

    def _break(self, error: JournalError) -> None:
        """Fail all calls, now and later."""
        if self._broken is None:
            logger.error("nothing more is submitted: %s", error)
        self._broken = error
        self._fail(self._queue.take_all(), error)

    def _expire(self) -> None:
        """Fail the calls that have waited too long for the database."""
        if self._away is not None:
            self._fail(self._queue.take_expired(time.monotonic()), self._away)

    def _fail(self, calls: list[QueuedStatement], error: JournalError) -> None:
        for call in calls:
            call.error = JournalError(str(error))  # each caller adds its own facts
        if calls:
            self._call_in_loop(_deliver, calls)

    def _failure(self, what: str, error: BaseException) -> JournalError:
        return JournalError(f"the journal {self.url} {what}: {reason(error, self.url)}")

    def _note_away(self, error: Exception) -> None:
        is_new = self._away is None
        self._away = self._failure("is away", error)
        if is_new:
            logger.warning("nothing is submitted for now, and what runs is followed: %s", self._away)

    def _note_back(self) -> None:
        if self._away is not None:
            self._away = None
            logger.warning("the journal %s is back", self.url)


WiroFailure: TypeAlias = "JournalError | ConfigurationError | None"


def _answer(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():  # the caller may have been cancelled
        future.set_result(value)


def _retrieve_error(future: asyncio.Future[list[Row]]) -> None:
    if not future.cancelled():
        future.exception()  # `aclose` raises it, too


def _deliver(calls: list[QueuedStatement]) -> None:
    for call in calls:
        call.deliver()


def _terminate(connection: DatabaseConnection | None) -> None:
    if connection is not None:
        connection.terminate()


async def _closed(connection: DatabaseConnection | None) -> None:
    if connection is not None and not connection.is_closed():
        with suppress(Exception):
            await connection.close(timeout=1.0)
