"""Thousands of runs of all kinds under random faults: each is billed once and reports its true end.

A failure shows its seed and the command that repeats it. Add a seed that once failed to `REGRESSIONS`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import attrs
import pytest

from wiro_async import (
    AsyncWiro,
    BatchItem,
    EventStream,
    Progress,
    RetryPolicy,
    RunRequest,
    StatusChanged,
    SubmissionUnknownError,
    TaskEvent,
    TaskFailedError,
    TaskFinished,
    TaskHandle,
    TaskResult,
    TextDelta,
    TextReset,
    Timeouts,
    Tuning,
)
from wiro_async._engine.engine import Statistics
from wiro_async._records.status import RANK
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.chaos.conftest import BeOdd, ByName


REGRESSIONS: list[tuple[int, int]] = []  # (seed, runs) of sessions that once failed

IN_FLIGHT = 48  # callers at a time
TIMEOUT = 240.0  # seconds for one session, on a busy machine
STOPPED_WITHIN = 6.0
NOTHING = Statistics(0, 0, 0, 0, 0, 0, 0)
QUICK = (0.0, 1.0, 1.0, 4.0)  # seconds of a run, before the emulator's speed; some end before the test follows them
LONG = 10_000.0
SPEED = 25.0

Outcome: TypeAlias = str  # "ok", "failed", "unknown", "cancelled", or what went wrong


@attrs.frozen
class Intent:
    """A run to be made once. Intents of a group of twins have equal parameters."""

    prompt: str
    fails: bool
    seconds: float

    @property
    def input(self) -> dict[str, object]:
        return {"prompt": self.prompt, "seconds": self.seconds, "fail": "true" if self.fails else "false"}


@attrs.define
class Trial:
    """The workload of one session, and its outcomes."""

    wiro: AsyncWiro
    dice: Random
    outcomes: dict[str, list[Outcome]] = attrs.field(factory=dict[str, list[Outcome]])
    problems: list[str] = attrs.field(factory=list[str])

    def record(self, intent: Intent, outcome: TaskResult | BaseException | None) -> None:
        """Record how an intent ended, and whether that is true."""
        verdict = _verdict(intent, outcome)
        self.outcomes.setdefault(intent.prompt, []).append(verdict)
        if verdict not in ("ok", "failed", "unknown", "cancelled"):
            self.problems.append(f"{intent}: {verdict}")

    async def ended(self, intent: Intent, run: Awaitable[TaskResult]) -> None:
        """Wait for a run, and record its outcome."""
        try:
            outcome: TaskResult | Exception = await run
        except Exception as error:
            outcome = error
        self.record(intent, outcome)

    async def cancelled(self, intent: Intent, use: Awaitable[object]) -> None:
        """Cancel a use of a long run shortly after its start, and record that it ended."""
        user = asyncio.ensure_future(use)
        await asyncio.wait([user], timeout=self.dice.uniform(0.0, 0.3))
        user.cancel()
        await asyncio.wait([user], timeout=STOPPED_WITHIN)
        if not user.done():
            self.problems.append(f"{intent}: cancelling took more than {STOPPED_WITHIN} s")
        elif user.cancelled():
            self.record(intent, None)
        else:
            self.record(intent, user.exception() or AssertionError("it ended, although it never ends"))


def _verdict(intent: Intent, outcome: TaskResult | BaseException | None) -> Outcome:
    match outcome:
        case TaskResult() if outcome.info.parameters.get("prompt") != intent.prompt:
            return f"got another task: {outcome.info}"
        case TaskResult() if not intent.fails and outcome.succeeded:
            return "ok"
        case TaskFailedError() if intent.fails:
            return "failed"
        case SubmissionUnknownError():
            return "unknown"
        case None:
            return "cancelled"
        case _:
            return f"ended with {outcome!r}"


class EventChecker:
    """Checks that events only advance."""

    def __init__(self, problems: list[str], intent: Intent) -> None:
        self._problems = problems
        self._intent = intent
        self._rank = -1
        self._fractions: dict[str, float] = {}
        self.text = {"answer": "", "thinking": ""}
        self.over = False

    def __call__(self, event: TaskEvent) -> None:
        if self.over:
            self._report(f"{event} came after the last event")
        match event:
            case StatusChanged(status=status):
                self._check(RANK[status] > self._rank, event)
                self._rank = RANK[status]
            case Progress(label=label, fraction=fraction):
                self._check(fraction > self._fractions.get(label, -1.0), event)
                self._fractions[label] = fraction
            case TextReset(kind=kind):
                self.text[kind] = ""
            case TextDelta(kind=kind, text=text):
                self._check(bool(text), event)
                self.text[kind] += text
            case TaskFinished():
                self.over = True

    def finish(self, result: TaskResult) -> TaskResult:
        """Compare the text of the deltas with the text of the result."""
        final = {"answer": result.text, "thinking": result.thinking}
        if result.info.model == "emulator/writer" and final != self.text:
            self._report(f"the deltas make {self.text}, the result has {final}")
        return result

    def _report(self, text: str) -> None:
        self._problems.append(f"{self._intent}: {text}")

    def _check(self, forward: bool, event: TaskEvent) -> None:
        if not forward:
            self._report(f"{event} goes backward")


async def run(trial: Trial, intent: Intent) -> None:
    """Use `run`."""
    await trial.ended(intent, trial.wiro.run("emulator/sleeper", intent.input))


async def run_polling(trial: Trial, intent: Intent) -> None:
    """Use polling, and a callback URL, which holds the id of the intent."""
    view = trial.wiro.with_options(updates="polling")
    await trial.ended(intent, view.run("emulator/sleeper", intent.input, callback_url="https://example.com/done?a=b"))


async def run_by_events(trial: Trial, intent: Intent) -> None:
    """Follow by server-sent events."""
    await trial.ended(intent, trial.wiro.with_options(updates="sse").run("emulator/sleeper", intent.input))


async def run_listening(trial: Trial, intent: Intent) -> None:
    """Use `run` with a listener."""
    checker = EventChecker(trial.problems, intent)
    await trial.ended(intent, trial.wiro.run("emulator/sleeper", intent.input, on_event=checker))


async def wait_twice(trial: Trial, intent: Intent) -> None:
    """Cancel a wait. The next one gets the result."""

    async def use() -> TaskResult:
        handle = await trial.wiro.submit("emulator/sleeper", intent.input)
        with suppress(TimeoutError):
            async with asyncio.timeout(trial.dice.uniform(0.0, intent.seconds / SPEED)):
                await handle
        return await handle

    await trial.ended(intent, use())


async def follow(trial: Trial, intent: Intent) -> None:
    """Follow twice, leave once early, and wait."""

    async def use() -> TaskResult:
        handle = await trial.wiro.submit("emulator/sleeper", intent.input)
        async with handle.events() as glimpse:
            async for _ in glimpse:
                break
        checker = EventChecker(trial.problems, intent)
        async for event in handle.events():
            checker(event)
        if not checker.over:
            trial.problems.append(f"{intent}: the events had no end")
        return await handle

    await trial.ended(intent, use())


async def follow_text(trial: Trial, intent: Intent) -> None:
    """Follow an LLM. Its deltas must add up to its answer and its thinking."""

    async def use() -> TaskResult:
        handle = await trial.wiro.submit("emulator/writer", intent.input)
        checker = EventChecker(trial.problems, intent)
        async for event in handle.events():
            checker(event)
        return checker.finish(await handle)

    await trial.ended(attrs.evolve(intent, fails=False), use())


async def follow_by_references(trial: Trial, intent: Intent) -> None:
    """Follow by handle, token and id at once. One that leaves early does not affect the others."""

    async def use() -> TaskResult:
        handle = await trial.wiro.submit("emulator/sleeper", intent.input)
        references = [handle, trial.wiro.task(handle.token), trial.wiro.task(task_id=handle.id)]
        trial.dice.shuffle(references)
        checker = EventChecker(trial.problems, intent)
        async with references[0].events() as glimpse, asyncio.TaskGroup() as group:
            group.create_task(_read_out(references[1].events(), checker))
            await anext(glimpse)
        if not checker.over:
            trial.problems.append(f"{intent}: the events had no end")
        return await references[2]

    await trial.ended(intent, use())


async def _read_out(events: EventStream, checker: EventChecker) -> None:
    async for event in events:
        checker(event)


async def stream(trial: Trial, intent: Intent) -> None:
    """Use `stream`."""

    async def use() -> TaskResult:
        checker = EventChecker(trial.problems, intent)
        async with trial.wiro.stream("emulator/writer", intent.input) as deltas:
            async for delta in deltas:
                checker(delta)
            return checker.finish(await deltas.result())

    await trial.ended(attrs.evolve(intent, fails=False), use())


async def cancel_run(trial: Trial, intent: Intent) -> None:
    """Cancel `run`."""
    intent = attrs.evolve(intent, seconds=LONG)
    await trial.cancelled(intent, trial.wiro.run("emulator/sleeper", intent.input))


async def cancel_stream(trial: Trial, intent: Intent) -> None:
    """Cancel the reader of a stream."""
    intent = attrs.evolve(intent, seconds=LONG)

    async def use() -> None:
        async with trial.wiro.stream("emulator/writer", intent.input) as deltas:
            await deltas.result()

    await trial.cancelled(intent, use())


Single: TypeAlias = Callable[[Trial, Intent], Awaitable[None]]
Several: TypeAlias = Callable[[Trial, Sequence[Intent]], Awaitable[None]]
SINGLES: tuple[tuple[Single, int], ...] = (
    (run, 4),
    (run_polling, 2),
    (run_by_events, 2),
    (run_listening, 2),
    (wait_twice, 2),
    (follow, 3),
    (follow_by_references, 2),
    (follow_text, 2),
    (stream, 2),
    (cancel_run, 2),
    (cancel_stream, 1),
)


async def batch(trial: Trial, intents: Sequence[Intent]) -> None:
    """Use `batch`."""
    wanted = [RunRequest("emulator/sleeper", intent.input) for intent in intents]
    async with trial.wiro.batch(wanted, concurrency=trial.dice.randint(2, 12)) as items:
        async for item in items:
            trial.record(intents[item.index], item.result or item.error)


async def left_batch(trial: Trial, intents: Sequence[Intent]) -> None:
    """Leave a batch after its first item. Running tasks are stopped, the rest is never made."""
    intents = [attrs.evolve(intent, seconds=LONG if number else 1.0) for number, intent in enumerate(intents)]
    first: BatchItem | None = None
    async with trial.wiro.batch("emulator/sleeper", [intent.input for intent in intents], concurrency=5) as items:
        async for item in items:
            first = item
            break
    for number, intent in enumerate(intents):
        ended = first is not None and first.index == number
        trial.record(intent, (first.result or first.error) if first is not None and ended else None)


async def mapped(trial: Trial, intents: Sequence[Intent]) -> None:
    """Use `map`."""
    inputs = [intent.input for intent in intents]
    results = await trial.wiro.map("emulator/sleeper", inputs, concurrency=6, return_exceptions=True)
    for intent, result in zip(intents, results, strict=True):
        trial.record(intent, result)


async def twins(trial: Trial, intents: Sequence[Intent]) -> None:
    """Make equal runs at once. There must be as many tasks as intents."""
    twin = attrs.evolve(intents[0], fails=False)
    await asyncio.gather(*(run(trial, twin) for _ in intents))


async def bare(trial: Trial, intents: Sequence[Intent]) -> None:
    """Submit all at once, and wait only when all are submitted."""

    async def made(intent: Intent) -> TaskHandle | Exception:
        try:
            return await trial.wiro.submit("emulator/sleeper", intent.input)
        except Exception as error:
            return error

    for intent, handle in zip(intents, await asyncio.gather(*map(made, intents)), strict=True):
        if isinstance(handle, TaskHandle):
            await trial.ended(intent, handle.result())
        else:
            trial.record(intent, handle)


SEVERAL: tuple[Several, ...] = (batch, batch, left_batch, mapped, twins, twins, twins, bare, bare)


def _plan(trial: Trial, runs: int) -> list[Awaitable[None]]:
    """Return the workload of a seed: a third in groups, the rest one by one."""
    dice, uses = trial.dice, list[Awaitable[None]]()
    intents = [
        Intent(f"intent {number}", fails=dice.random() < 0.25, seconds=dice.choice(QUICK)) for number in range(runs)
    ]
    while intents:
        size = dice.randint(3, 10)
        if dice.random() < 0.08 and len(intents) >= size:
            group, intents = intents[:size], intents[size:]
            uses.append(dice.choice(SEVERAL)(trial, group))
        else:
            single = dice.choices([use for use, _ in SINGLES], [weight for _, weight in SINGLES])[0]
            uses.append(single(trial, intents.pop()))
    return uses


async def _at_most(number: int, uses: Sequence[Awaitable[None]]) -> None:
    slots = asyncio.Semaphore(number)

    async def with_slot(use: Awaitable[None]) -> None:
        async with slots:
            await use

    async with asyncio.TaskGroup() as group:
        for use in uses:
            group.create_task(with_slot(use))


def _billed(emulator: WiroEmulator, trial: Trial, resubmits: bool) -> list[str]:
    """Return the intents that were not made exactly once."""
    problems: list[str] = []
    made = emulator.ledger.submissions_by("prompt")
    for prompt, outcomes in trial.outcomes.items():
        count, ended = len(made.get(prompt, [])), Counter(outcomes)
        sure = ended["ok"] + ended["failed"]
        if not sure <= count <= sure + ended["cancelled"]:
            problems.append(f"{prompt} was made {count} times and ended {dict(ended)}")
        if resubmits and ended["unknown"]:
            problems.append(f"{prompt} was not sent again")
    return problems


async def _settled(emulator: WiroEmulator) -> list[str]:
    """Wait for the server to become idle, and return what is left."""
    left: list[object] = []
    for _ in range(40):
        running = [task for task in emulator.ledger.tasks.values() if not task.finished]
        left = [*emulator.ledger.open_sockets, *running]
        if not left:
            break
        await asyncio.sleep(0.05)
    return [f"left open: {thing}" for thing in left]


async def _still_held(wiro: AsyncWiro) -> Statistics:
    """Wait for the session to become idle, and return what it still holds."""
    for _ in range(100):
        if attrs.evolve(wiro.statistics(), sockets=0, background_tasks=0) == NOTHING:
            break
        await asyncio.sleep(0.05)
    return attrs.evolve(wiro.statistics(), sockets=0, background_tasks=0)


async def survive(seed: int, runs: int, be_odd: "BeOdd", by_name: "ByName", tuning: Tuning) -> tuple[Trial, list[str]]:
    """Run one session full of faults. Return its trial, and every invariant that did not hold."""
    dice = Random(seed)
    limited, resubmits, one_socket = dice.random() < 0.4, dice.random() < 0.4, dice.random() < 0.7
    rate = dice.choice((0.04, 0.1, 0.1, 0.2))
    bystanders = asyncio.all_tasks()
    balance = Decimal(305) if limited else Decimal(1000)
    async with WiroEmulator(speed=SPEED, balance=balance, tuning=tuning) as emulator:
        emulator.faults.random(seed, rate)
        be_odd(emulator, Random(f"{seed} odd"), rate)
        wiro = AsyncWiro(
            **by_name(emulator, Random(f"{seed} addresses")),
            timeout=Timeouts(request=2.0),
            retry=RetryPolicy(attempts=10, base=0.02, cap=0.2),
            on_unknown="resubmit" if resubmits else "raise",
            tasks_per_socket=1000 if one_socket else 7,
        )
        trial = Trial(wiro, dice)
        async with asyncio.timeout(TIMEOUT), wiro:
            await _at_most(IN_FLIGHT, _plan(trial, runs))
            if (held := await _still_held(wiro)) != NOTHING:
                trial.problems.append(f"still held after the last run: {held}")
        problems = trial.problems + _billed(emulator, trial, resubmits) + await _settled(emulator)
    if wiro.statistics() != NOTHING:
        problems.append(f"still held after closing: {wiro.statistics()}")
    problems += [f"still alive: {task}" for task in asyncio.all_tasks() - bystanders]
    if sum(map(len, trial.outcomes.values())) != runs:
        problems.append(f"{runs} intents, {trial.outcomes}")
    return trial, problems


@pytest.mark.timeout(300)
async def test_everything_fails_but_the_runs(
    chaos_seed: int, chaos_runs: int, be_odd: "BeOdd", by_name: "ByName", short_timing: Tuning
) -> None:
    """Each run of a session full of faults is made once and ends as it should, and nothing is left."""
    trial, problems = await survive(chaos_seed, chaos_runs, be_odd, by_name, short_timing)
    if problems:
        again = f"pytest tests/chaos/test_chaos.py --chaos-seed {chaos_seed} --chaos-runs {chaos_runs}"
        pytest.fail("\n".join([f"seed {chaos_seed}; again: {again}", *problems[:30]]))
    assert "ok" in {outcome for outcomes in trial.outcomes.values() for outcome in outcomes}
