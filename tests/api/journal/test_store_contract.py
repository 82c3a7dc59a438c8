"""What every store of a journal must do, against each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
import pytest_asyncio

from wiro_async import Tuning
from wiro_async._api.journal.journal_store import JournalStore
from wiro_async._api.journal.postgres_store import PostgresStore
from wiro_async._api.journal.sqlite_store import SqliteStore
from wiro_async._protocol.journal.record import Intention, KeyEnd, Record, Spending, State
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef

TUNING = Tuning(journal_lease=0.6, journal_pulse=0.1, journal_poll=0.2, journal_close=1.0)
REF = TaskRef("100", "token-100")
ENDS: tuple[State, ...] = ("succeeded", "failed", "cancelled", "refused")
Opened: TypeAlias = Callable[[], Awaitable[JournalStore]]


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], JournalStore]:
    """A function that makes a store, the same place each time."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "journal.sqlite", TUNING)
    url = request.getfixturevalue("database_url")
    return lambda: PostgresStore(url, TUNING)


@pytest_asyncio.fixture
async def opened(make: Callable[[], JournalStore]) -> AsyncIterator[Opened]:
    """A function that opens the journal; all openings are closed at the end."""
    stores: list[JournalStore] = []

    async def opened() -> JournalStore:
        store = make()
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.aclose()


@pytest_asyncio.fixture
async def store(opened: Opened) -> JournalStore:
    """A new journal."""
    return await opened()


def intention(key: str = "k", number: int = 1, **changes: Any) -> Intention:
    """Return what is about to be sent."""
    made = Intention(key, "owner/model", f"digest-{number}", b'{"n":1}', f"print-{number}".encode(), b"shape")
    return attrs.evolve(made, **changes)


def ending(state: str = "succeeded", task_id: str = "100", cost: str = "0.04") -> KeyEnd:
    """Return how a task ended."""
    raw = {"id": task_id, "socketaccesstoken": f"token-{task_id}", "status": "task_postprocess_end", "totalcost": cost}
    error = None if state == "succeeded" else "it failed"
    return KeyEnd(state, None if state == "refused" else parse_task(raw), error, 1000.0)  # type: ignore[arg-type]


async def record_of(store: JournalStore, key: str = "k") -> Record:
    """Read a record that is there."""
    return (await store.read([key]))[key]


async def test_an_intent_survives(store: JournalStore, opened: Opened) -> None:
    """Everything that was said of it comes back."""
    said = intention(
        callback_url="https://h/cb", intended_at=12.5, last_id_seen=2**60, input='{"p":"ü\\u0000"}'.encode()
    )
    made = await store.intend(said, None)
    assert (made.intention, made.state, made.is_ours, made.attempts, made.fence) == (said, "undecided", True, 1, 1)
    assert await store.read(["k", "other"]) == {"k": made}
    assert await store.read([]) == {}


async def test_only_one_of_many_gets_the_key(store: JournalStore) -> None:
    """The others see that it is not theirs."""
    records = await asyncio.gather(*(store.intend(intention(), None) for _ in range(10)))
    assert sum(record.is_ours for record in records) == 1
    assert {record.fence for record in records} == {1}


@pytest.mark.parametrize("state", ENDS)
async def test_an_ended_key_may_be_intended_again(store: JournalStore, state: str) -> None:
    """With the next fence, a later position, and another attempt only if there was a task."""
    first = await store.intend(intention(), None)
    if state != "refused":
        assert await store.record_task(first, REF)
    store.end(first, ending(state))
    ended = await record_of(store)
    assert (ended.state, ended.error) == (state, None if state == "succeeded" else "it failed")
    again = await store.intend(intention(number=2), ended)
    assert (again.is_ours, again.fence, again.ref, again.task, again.error) == (True, first.fence + 1, None, None, None)
    assert again.attempts == (1 if state == "refused" else 2)
    assert again.position > first.position
    assert again.intention.digest == "digest-2"
    assert list((await store.look_alikes(b"print-1")).task_ids) == ([] if state == "refused" else ["100"])


async def test_a_key_that_changed_is_not_intended(store: JournalStore) -> None:
    """Another one was faster, or it is not at its end."""
    first = await store.intend(intention(), None)
    for seen in (None, first):
        assert not (await store.intend(intention(number=2), seen)).is_ours
    await store.record_task(first, REF)
    submitted = await record_of(store)
    assert not (await store.intend(intention(number=2), submitted)).is_ours
    store.end(first, ending("failed"))
    ended = await record_of(store)
    assert (await store.intend(intention(number=2), ended)).is_ours
    assert not (await store.intend(intention(number=3), ended)).is_ours
    assert (await record_of(store)).intention.digest == "digest-2"


async def test_a_task_is_recorded_once(store: JournalStore) -> None:
    """The same one again is no error, another one is."""
    record = await store.intend(intention(), None)
    assert await store.record_task(record, REF)
    assert await store.record_task(record, REF)
    assert not await store.record_task(record, TaskRef("101", "token-101"))
    present = await record_of(store)
    assert (present.state, present.ref, present.is_ours) == ("submitted", REF, False)


async def test_a_task_is_recorded_whatever_the_fence(store: JournalStore, opened: Opened) -> None:
    """A task that exists must not be lost because somebody else searches for it."""
    record = await store.intend(intention(), None)
    await store.park(record, ["7"], "not proven")
    taken = await store.take_over(await record_of(store))
    assert taken is not None
    assert await store.record_task(record, REF)
    assert await store.refuse(taken) is None
    await store.park(taken, [], "nothing")
    assert (await record_of(store)).state == "submitted"


async def test_an_end_is_read_back(store: JournalStore) -> None:
    """With the service's record of the task and its cost."""
    record = await store.intend(intention(), None)
    await store.record_task(record, REF)
    store.end(record, ending())
    present = await record_of(store)
    assert present.task is not None
    assert (present.state, present.task.id, present.task.token) == ("succeeded", "100", "token-100")
    assert (present.cost, present.ended_at) == (Decimal("0.04"), 1000.0)


async def test_the_end_of_an_earlier_attempt_changes_nothing(store: JournalStore) -> None:
    """Whoever followed it may be late."""
    first = await store.intend(intention(), None)
    await store.record_task(first, REF)
    submitted = await record_of(store)
    store.end(submitted, ending("failed"))
    second = await store.intend(intention(), await record_of(store))
    store.end(submitted, ending("failed"))
    store.end(first, ending("refused"))
    assert (await record_of(store)).state == "undecided"
    await store.record_task(second, TaskRef("200", "token-200"))
    store.end(submitted, ending("cancelled"))
    store.end(first, ending("refused"))
    assert (await record_of(store)).state == "submitted"


async def test_a_refusal_needs_no_task(store: JournalStore) -> None:
    """A run with a task was not refused."""
    record = await store.intend(intention(), None)
    await store.record_task(record, REF)
    store.end(record, ending("refused"))
    assert (await record_of(store)).state == "submitted"


async def test_refuse_and_park_need_the_fence(store: JournalStore) -> None:
    """Whoever was overtaken decides nothing."""
    first = await store.intend(intention(), None)
    await store.park(first, ["5", "6"], "two candidates")
    parked = await record_of(store)
    assert (parked.state, parked.candidates, parked.error, parked.is_ours) == (
        "unknown", ("5", "6"), "two candidates", False
    )  # fmt: skip
    taken = await store.take_over(parked)
    assert taken is not None
    assert (taken.is_ours, taken.fence, taken.position > first.position or taken.position == first.position) == (
        True, first.fence + 1, True
    )  # fmt: skip
    assert await store.refuse(first) is None
    await store.park(first, [], "late")
    assert await store.take_over(parked) is None
    refused = await store.refuse(taken)
    assert refused is not None
    assert refused.state == "refused"
    assert (await store.intend(intention(), refused)).is_ours


async def test_our_own_undecided_record_is_not_taken_over(store: JournalStore) -> None:
    """It may be on its way."""
    record = await store.intend(intention(), None)
    assert await store.take_over(record) is None
    assert not await store.decide("k", REF)
    await store.check(record)


async def test_what_a_closed_session_left_is_taken_over(store: JournalStore, opened: Opened) -> None:
    """Nobody may send it any more."""
    record = await store.intend(intention(), None)
    await store.aclose()
    await store.aclose()
    second = await opened()
    left = await record_of(second)
    assert (left.state, left.is_ours, left.lease, left.fence) == ("undecided", False, 0.0, record.fence)
    taken = await second.take_over(left)
    assert taken is not None
    assert (taken.is_ours, taken.fence) == (True, left.fence + 1)
    await second.check(taken)
    assert await second.take_over(left) is None


async def test_look_alikes(store: JournalStore) -> None:
    """Tasks of all keys with the same fingerprint, and keys whose task is not known."""
    records = [await store.intend(intention(key), None) for key in ("a", "b", "c")]
    await store.record_task(records[2], REF)
    found = await store.look_alikes(b"print-1")
    assert (list(found.task_ids), sorted(found.rivals), found.is_one_request) == (["100"], ["a", "b"], True)
    await store.intend(intention("d", digest="another"), None)
    assert not (await store.look_alikes(b"print-1")).is_one_request
    none = await store.look_alikes(b"nothing")
    assert (list(none.task_ids), list(none.rivals)) == ([], [])


async def test_witnesses(store: JournalStore) -> None:
    """Tasks of the same shape whose intents came later, the oldest first."""
    records = [await store.intend(intention(f"k{number}", number), None) for number in range(4)]
    other = await store.intend(intention("other", shape=b"another"), None)
    for number in (3, 1):
        await store.record_task(records[number], TaskRef(str(number), f"token-{number}"))
    await store.record_task(other, TaskRef("9", "token-9"))
    found = await store.witnesses(b"shape", records[0].position)
    assert [(witness.ref.task_id, witness.fingerprint) for witness in found] == [("1", b"print-1"), ("3", b"print-3")]
    assert [witness.ref.task_id for witness in await store.witnesses(b"shape", records[1].position)] == ["3"]


@pytest.mark.parametrize(
    "seen, task_id, shown",
    [(99, "100", True), (100, "100", False), (99, "a-uuid", False), (0, "100", None), (None, "100", None)],
)
async def test_the_order_of_ids(store: JournalStore, seen: int | None, task_id: str, shown: bool | None) -> None:
    """Each task whose run was sent after an id was known shows it. One exception disproves it."""
    assert await store.ids_run_upward() is None
    record = await store.intend(intention(last_id_seen=seen), None)
    assert await store.ids_run_upward() is None
    await store.record_task(record, TaskRef(task_id, "token"))
    assert await store.ids_run_upward() is shown
    later = await store.intend(intention("later", last_id_seen=5), None)
    await store.record_task(later, TaskRef("6", "token-6"))
    assert await store.ids_run_upward() is (shown is not False)


async def test_wait_returns_with_the_change(store: JournalStore) -> None:
    """Soon after it, and after the time otherwise."""
    record = await store.intend(intention(), None)
    waiting = asyncio.ensure_future(store.wait(record, 10))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await store.record_task(record, REF)
    async with asyncio.timeout(1):
        await waiting
        await store.wait(record, None)
        await store.wait(await record_of(store), 0.05)


async def test_places_of_outputs(store: JournalStore) -> None:
    """Planned before they are saved."""
    assert await store.planned("k") == frozenset()
    await store.intend(intention(), None)
    await store.plan("k", [Path("a/1.png"), Path("a/ü.png")])
    assert await store.planned("k") == {Path("a/1.png"), Path("a/ü.png")}
    store.save("k", [Path("a/1.png")])
    assert (await record_of(store)).saved == (Path("a/1.png"),)


async def test_the_largest_id(store: JournalStore) -> None:
    """Compared as a number; none if ids are no numbers."""
    assert await store.largest_id() is None
    for key, task_id in (("a", "99"), ("b", "1000"), ("c", "101")):
        await store.record_task(await store.intend(intention(key), None), TaskRef(task_id, f"token-{task_id}"))
    assert await store.largest_id() == 1000
    await store.record_task(await store.intend(intention("d"), None), TaskRef("abcdef", "token-d"))
    assert await store.largest_id() is None


async def test_items_counts_and_spendings(store: JournalStore) -> None:
    """In the order of their first intents, also after later ones."""
    for number, key in enumerate(("z", "a", "m")):
        record = await store.intend(intention(key, number), None)
        await store.record_task(record, TaskRef(str(number), f"token-{number}"))
        store.end(record, ending("failed" if key == "z" else "succeeded", str(number)))
    await store.intend(intention("z"), await record_of(store, "z"))
    assert [record.key async for record in store.items()] == ["z", "a", "m"]
    assert [record.key async for record in store.items("succeeded")] == ["a", "m"]
    assert await store.counts() == {"undecided": 1, "succeeded": 2}
    assert await store.spendings() == {"owner/model": Spending(Decimal("0.08"), 2)}


async def test_decide(store: JournalStore) -> None:
    """A parked key gets its task, or none."""
    for key, ref in (("a", REF), ("b", None)):
        await store.park(await store.intend(intention(key), None), [], "not proven")
        parked = await record_of(store, key)
        assert await store.decide(key, ref)
        decided = await record_of(store, key)
        assert (decided.state, decided.ref) == ("submitted" if ref else "refused", ref)
        assert decided.fence > parked.fence
        assert not await store.decide(key, ref)
    assert not await store.decide("nothing", None)


async def test_forget_and_prune(store: JournalStore) -> None:
    """What has ended is removed. Its task still belongs to the journal."""
    for number, key in enumerate(("a", "b", "c")):
        record = await store.intend(intention(key), None)
        assert not await store.forget(key)
        await store.record_task(record, TaskRef(str(number), f"token-{number}"))
        if key != "c":
            store.end(record, ending(task_id=str(number)))
    assert await store.forget("a")
    assert not await store.forget("a")
    assert await store.prune(999.0) == 0
    assert await store.prune(1001.0) == 1
    assert [record.key async for record in store.items()] == ["c"]
    assert sorted((await store.look_alikes(b"print-1")).task_ids) == ["0", "1", "2"]
    assert await store.largest_id() == 2
    store.end(await record_of(store, "c"), ending(task_id="2"))
    assert await store.prune(1001.0) == 1
    assert await store.largest_id() == 2


async def test_many_at_once(store: JournalStore, opened: Opened) -> None:
    """Nothing is mixed up, and everything is there for the next opening."""

    async def run(number: int) -> None:
        record = await store.intend(intention(f"k{number}", number), None)
        assert (record.key, record.is_ours) == (f"k{number}", True)
        await store.check(record)
        assert await store.record_task(record, TaskRef(str(number), f"token-{number}"))
        store.end(record, ending(task_id=str(number)))

    await asyncio.gather(*map(run, range(200)))
    await store.aclose()
    second = await opened()
    records = await second.read([f"k{number}" for number in range(200)])
    assert {(record.state, record.ref) for record in records.values()} == {
        ("succeeded", TaskRef(str(number), f"token-{number}")) for number in range(200)
    }
