"""The journal of a batch: what its requests are called there, and whether it was made for them."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from wiro_async._api.keys.key_requests import KeyRequest
from wiro_async._api.keys.keyed_runs import KeyedRuns
from wiro_async._api.results.batch_items import RunRequest
from wiro_async._engine.background.background_tasks import BackgroundTasks
from wiro_async._errors import InvalidInputError, JournalError
from wiro_async._protocol.journal.record import Spending
from wiro_async._protocol.submission import journal_keys
from wiro_async._transport import threads
from wiro_async._transport.sqlite import KeyCounter


class BatchJournal:
    """A journal that a batch uses.

    Args:
        is_own: whether no other batch and no run uses it, so that it is closed with the batch, and made for its
            requests.
    """

    def __init__(self, runs: KeyedRuns, is_own: bool, background: BackgroundTasks) -> None:
        self.runs = runs
        self._is_own = is_own
        self._background = background
        self._taken: KeyCounter | None = None
        self._taking = anyio.Lock()
        self._first_seen = anyio.Event()
        self._refusal: JournalError | None = None

    async def open(self) -> Mapping[str, Spending]:
        """Open it, and return what earlier processes have spent, by model. Raises `JournalError`."""
        await self.runs.open()
        try:
            self._taken = await threads.run(KeyCounter)
            return await self.runs.store.spendings() if self._is_own else {}
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close it, now or when the last run in flight is settled. Raises `JournalError` if not all was written."""
        taken, self._taken = self._taken, None
        if taken is not None:
            await threads.run(taken.close)
        if not self._is_own:
            return
        if self.runs.is_busy:
            self.runs.store.linger()
            self._background.start(self.runs.aclose)
        else:
            await self.runs.aclose()

    async def name(self, index: int, request: RunRequest) -> KeyRequest:
        """Describe a request. Requests without a key are called by their contents, and equal ones are counted.

        Raises:
            InvalidInputError: the request cannot be sent, or cannot be distinguished from others.
            JournalError: the journal was made for other requests.
        """
        own_key = request.key
        try:
            # Reading files takes time: a later request with the same key must not overtake this one.
            times = 1 if own_key is None else await self._take(index, journal_keys.storable(own_key))
            named = await KeyRequest.of(request.model, request.input, own_key)
            if own_key is None:
                number = await self._take(index, named.digest)
                named = KeyRequest(journal_keys.nth(named.digest, number), named.model, named.digest, named.input)
            if index == 0 and self._is_own:
                await self._check_first(named.key)
        finally:
            if index == 0:
                self._first_seen.set()
        if self._refusal is not None:
            raise self._refusal
        if times > 1:
            raise InvalidInputError(
                message=f"an earlier request of this batch has the key {own_key!r}, too; give each one its own key"
            )
        return named

    async def _check_first(self, key: str) -> None:
        """Compare the first request with the first one that the journal saw: the cheapest sign of other requests."""
        store = self.runs.store
        if not await store.read([key]) and await store.first_key(key) != key:
            self._refusal = JournalError(
                f"this journal was made for other requests: it does not know the first one (key {key!r}). "
                "Add new requests behind the old ones, or give this batch another journal"
            )

    async def _take(self, index: int, key: str) -> int:
        """Count one more use of a key in this batch, and return how many there are."""
        if index:  # the first request shows whether the journal belongs to these: the others wait for that
            await self._first_seen.wait()
        async with self._taking:
            assert self._taken is not None
            return await threads.run(self._taken.count, key)
