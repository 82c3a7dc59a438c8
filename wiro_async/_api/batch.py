"""Many runs at once, a bounded number in flight, results as they end."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sized
from decimal import Decimal
from types import TracebackType
from typing import Literal, Self, TypeAlias

import anyio
import attrs
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from wiro_async._api.results import TaskResult
from wiro_async._engine.nursery import Nursery
from wiro_async._errors import InvalidInputError, SessionClosedError, TaskFailedError, WiroError
from wiro_async._types import Input, Timeouts

Order: TypeAlias = Literal["completed", "input"]
OnError: TypeAlias = Literal["continue", "stop"]
Concurrency: TypeAlias = int | Literal["auto"]
AUTO_WORKERS = 256  # for "auto": how many items stand ready for the session's limiter at most
WINDOW_PER_WORKER = 4  # in input order, this many finished items a worker wait for a slow one before it


@attrs.frozen
class RunRequest:
    """One run of a batch.

    Args:
        model: "owner/model".
        input: its parameters.
        key: your own name for it; given back with its `BatchItem`.
        timeout: seconds for the whole run, or `Timeouts`.
        callback_url: where the service reports its end.
    """

    model: str
    input: Input | None = attrs.field(default=None, repr=False)
    key: str | None = None
    timeout: float | Timeouts | None = None
    callback_url: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class BatchItem:
    """One ended item: either `result` or `error` is set.

    Attributes:
        index: its place among the inputs, from 0.
        key: the request's key, else the index as text.
        input: what was asked.
        request: the whole request; `wiro.batch(item.request for item in failed)` runs it anew.
        attempts: how many tasks were made for it.
    """

    index: int
    key: str
    request: RunRequest
    result: TaskResult | None
    error: Exception | None
    attempts: int

    @property
    def input(self) -> Input | None:
        """What was asked."""
        return self.request.input


@attrs.frozen
class BatchStats:
    """How a batch stands.

    Attributes:
        total: how many inputs there are, None while unknown.
        submitted, in_flight, succeeded, failed, skipped: counts of items.
        cost: US dollars billed so far.
        elapsed: seconds since it began.
        rate: items ended per second.
        eta: seconds left by that rate, None while unknown.
    """

    total: int | None
    submitted: int
    in_flight: int
    succeeded: int
    failed: int
    skipped: int
    cost: Decimal
    elapsed: float
    rate: float
    eta: float | None


Run: TypeAlias = Callable[[RunRequest], Awaitable[TaskResult]]
Inputs: TypeAlias = Iterable[Input | RunRequest] | AsyncIterable[Input | RunRequest]


class Batch:
    """An async context manager and async iterator of `BatchItem`s.

    Inputs are taken as there is room for them, results wait until they are read: a batch holds some items for
    each of its `concurrency` workers, however many there are in all. Leaving it early stops what runs.
    """

    def __init__(
        self,
        run: Run,
        nursery: Nursery,
        ready: Callable[[], Awaitable[None]],
        model: str | None,
        inputs: Inputs,
        *,
        concurrency: Concurrency,
        order: Order,
        retries: int,
        on_error: OnError,
    ) -> None:
        _check(concurrency, order, retries, on_error)
        self._run = run
        self._nursery = nursery
        self._ready = ready
        self._requests = _Requests(model, inputs)
        self._concurrency = AUTO_WORKERS if concurrency == "auto" else concurrency
        self._window = self._concurrency * WINDOW_PER_WORKER if order == "input" else None
        self._retries = retries
        self._on_error = on_error
        self._tally = _Tally(len(inputs) if isinstance(inputs, Sized) else None)
        self._workers = 0
        self._given = 0
        self._early: dict[int, BatchItem] = {}
        self._moved = anyio.Event()
        self._scope: anyio.CancelScope
        self._finished = anyio.Event()
        self._failure: BaseException | None = None
        self._send: MemoryObjectSendStream[BatchItem]
        self._receive: MemoryObjectReceiveStream[BatchItem]
        self._entered = False

    @property
    def stats(self) -> BatchStats:
        """How it stands."""
        return self._tally.stats()

    async def __aenter__(self) -> Self:
        await self._ready()
        self._entered = True
        self._scope = anyio.CancelScope()
        self._tally.begin()
        self._send, self._receive = anyio.create_memory_object_stream[BatchItem](self._concurrency)
        self._nursery.start(self._host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        try:
            with anyio.CancelScope(shield=True):
                await self._finished.wait()
        finally:  # a task can be cancelled through a shield, too
            self._receive.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchItem:
        if not self._entered:
            raise WiroError("this batch was not entered: async with wiro.batch(…) as batch")
        while (item := self._due()) is None:
            try:
                item = await self._receive.receive()
            except anyio.EndOfStream:
                if self._failure is not None:
                    raise self._failure from None
                raise StopAsyncIteration from None
            if self._window is None:
                break
            self._early[item.index] = item
        self._given += 1
        self._moved.set()
        return item

    async def results(self) -> list[BatchItem]:
        """All remaining items, in a list."""
        return [item async for item in self]

    def _due(self) -> BatchItem | None:
        return self._early.pop(self._given, None)

    async def _host(self) -> None:
        try:
            with self._scope, self._send:
                async with anyio.create_task_group() as group:
                    self._hire(group)
            if self._scope.cancelled_caught:
                self._failure = SessionClosedError("this batch was left")
        except BaseException as error:
            self._failure = SessionClosedError("the session was closed while this batch ran")
            if isinstance(error, Exception):
                self._failure = error
            else:
                raise
        finally:
            self._finished.set()

    def _hire(self, group: TaskGroup) -> None:
        self._workers += 1
        group.start_soon(self._work, group)

    async def _work(self, group: TaskGroup) -> None:
        while True:
            await self._room()
            taken = await self._take()
            if taken is None:
                return
            if self._workers < self._concurrency:
                self._hire(group)
            await self._send.send(await self._item(*taken))

    async def _room(self) -> None:
        while self._window is not None and self._requests.taken - self._given >= self._window:
            self._moved = anyio.Event()
            await self._moved.wait()

    async def _take(self) -> tuple[int, RunRequest] | None:
        try:
            return await self._requests.next()
        except Exception as error:
            self._failure = error
            return None

    async def _item(self, index: int, request: RunRequest) -> BatchItem:
        self._tally.submitted += 1
        result: TaskResult | None = None
        error: Exception | None = None
        attempt = 0
        while attempt <= self._retries:
            attempt += 1
            try:
                result, error = await self._run(request), None
                break
            except TaskFailedError as failure:
                error = failure
            except Exception as failure:
                error = failure
                break
        self._tally.end(result)
        if error is not None and self._on_error == "stop":
            self._requests.close()
        return BatchItem(index, request.key or str(index), request, result, error, attempt)


def _check(concurrency: Concurrency, order: Order, retries: int, on_error: OnError) -> None:
    if concurrency != "auto" and not (isinstance(concurrency, int) and concurrency >= 1):
        raise InvalidInputError(message=f"concurrency is {concurrency!r}; give 1 or more, or 'auto'")
    if order not in ("completed", "input"):
        raise InvalidInputError(message=f"order is {order!r}; give 'completed' or 'input'")
    if not (isinstance(retries, int) and retries >= 0):
        raise InvalidInputError(message=f"retries is {retries!r}; give 0 or more")
    if on_error not in ("continue", "stop"):
        raise InvalidInputError(message=f"on_error is {on_error!r}; give 'continue' or 'stop'")


class _Requests:
    """The inputs, taken one at a time, whoever asks."""

    def __init__(self, model: str | None, inputs: Inputs) -> None:
        self._model = model
        self._lock = anyio.Lock(fast_acquire=True)
        self._closed = False
        self.taken = 0
        self._source: AsyncIterator[Input | RunRequest] | Iterator[Input | RunRequest]
        self._source = aiter(inputs) if isinstance(inputs, AsyncIterable) else iter(inputs)

    def close(self) -> None:
        """Give no more."""
        self._closed = True

    async def next(self) -> tuple[int, RunRequest] | None:
        """The next input and its index; None if there is none."""
        async with self._lock:
            if self._closed:
                return None
            try:
                source = self._source
                given = await anext(source) if isinstance(source, AsyncIterator) else next(source)
                request = self._request(given)
            except (StopIteration, StopAsyncIteration):
                self._closed = True
                return None
            except BaseException:
                self._closed = True
                raise
            self.taken += 1
            return self.taken - 1, request

    def _request(self, given: Input | RunRequest) -> RunRequest:
        if isinstance(given, RunRequest):
            return given
        if self._model is not None and isinstance(given, Mapping):
            return RunRequest(self._model, given)
        wanted = "a RunRequest" if self._model is None else "a mapping of parameters or a RunRequest"
        raise InvalidInputError(message=f"item {self.taken} of the batch is a {type(given).__name__}; give {wanted}")


class _Tally:
    """Counts what becomes of the items."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._start: float | None = None
        self.submitted = self.succeeded = self.failed = 0
        self.cost = Decimal(0)

    def begin(self) -> None:
        self._start = anyio.current_time()

    def end(self, result: TaskResult | None) -> None:
        if result is None:
            self.failed += 1
        else:
            self.succeeded += 1
            self.cost += result.cost or 0

    def stats(self) -> BatchStats:
        ended = self.succeeded + self.failed
        elapsed = 0.0 if self._start is None else anyio.current_time() - self._start
        rate = ended / elapsed if elapsed else 0.0
        eta = (self._total - ended) / rate if self._total is not None and rate else None
        return BatchStats(
            self._total,
            self.submitted,
            self.submitted - ended,
            self.succeeded,
            self.failed,
            0,
            self.cost,
            elapsed,
            rate,
            eta,
        )
