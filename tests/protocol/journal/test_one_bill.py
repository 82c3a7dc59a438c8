"""One key, one bill: rules and proofs against a model of the service, in any order of events.

The service makes tasks with growing ids. Its list lags, is sorted, cut off or echoed in some way, differently at each
search, and shows tasks of other programs. Responses are lost, and the program is killed, at any moment.
"""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.journal.absence import Absent, Adopt, Listing, Others, judge
from wiro_async._protocol.journal.record import EndState, Intention, Record, Witness
from wiro_async._protocol.journal.rules import AwaitOwner, FindTask, FollowTask, ReplayEnd, SendRun, on_request
from wiro_async._protocol.submission.intent import Intent
from wiro_async._protocol.submission.journal_keys import short
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._records.task_info import TaskInfo

KEYS = [f"key-{number}" for number in range(5)]
PROMPTS = {key: f"prompt {number % 3}" for number, key in enumerate(KEYS)}  # some are equal


@attrs.define
class Task:
    """A task of the service."""

    number: int
    prompt: str
    key: str | None  # whose run has made it; None for another program's
    made_at: int
    state: str = "running"


def intent_of(prompt: str) -> Intent:
    """Return what a run is meant to be."""
    return Intent.of("owner/model", RunInput.parse({"prompt": prompt}), None)


class OneBill(RuleBasedStateMachine):
    """A journal, a service, and everything that can go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Task] = []
        self.records: dict[str, Record] = {}
        self.former: set[str] = set()
        self.position = self.now = 0

    def visible(self, lag: int) -> list[Task]:
        """The tasks that the list shows, newest first."""
        return [task for task in reversed(self.tasks) if task.made_at <= self.now - lag]

    def make(self, prompt: str, key: str | None) -> Task:
        """Make a task. Other users of the service make tasks between those of this account."""
        number = (self.tasks[-1].number if self.tasks else 100) + 1 + self.now % 3
        self.tasks.append(Task(number, prompt, key, self.now))
        return self.tasks[-1]

    @rule(
        key=st.sampled_from(KEYS),
        fate=st.sampled_from(["answered", "lost", "never arrived", "refused"]),
        lag=st.integers(0, 2),
        knows=st.booleans(),
    )
    def call(self, key: str, fate: str, lag: int, knows: bool) -> None:
        """A call with the key: it sends only where the rules say so."""
        self.now += 1
        record = self.records.get(key)
        match on_request(record, key):
            case SendRun(seen):
                assert seen is None or seen.state in ("failed", "cancelled", "refused")
                self.position += 1
                newest = max((task.number for task in self.visible(lag)), default=0)
                intent = intent_of(PROMPTS[key])
                marks = short(intent.fingerprint), short(intent.shape)
                intention = Intention(key, "owner/model", key, b"{}", *marks, None, 0.0, newest if knows else None)
                if seen is not None and seen.ref is not None and seen.ref.task_id is not None:
                    self.former.add(seen.ref.task_id)
                made = None if fate in ("never arrived", "refused") else self.make(PROMPTS[key], key)
                record = Record(intention, "undecided", 1, self.position, 1 if seen is None else seen.fence + 1)
                if fate == "answered" and made is not None:
                    record = attrs.evolve(record, state="submitted", ref=TaskRef(str(made.number), None))
                elif fate == "refused":
                    record = attrs.evolve(record, state="refused")
                self.records[key] = record
            case FindTask() | FollowTask() | ReplayEnd() | AwaitOwner():
                pass
            case step:
                raise AssertionError(step)

    @rule(prompt=st.sampled_from(sorted(set(PROMPTS.values()))))
    def another_program(self, prompt: str) -> None:
        """It makes an equal task, which is old when a run is lost later."""
        lost = {PROMPTS[key] for key, record in self.records.items() if record.state in ("undecided", "unknown")}
        if prompt not in lost:
            self.now += 1
            self.make(prompt, None)

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        """Lists catch up."""
        self.now += seconds

    @rule(key=st.sampled_from(KEYS), end=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def end(self, key: str, end: EndState) -> None:
        """A task that is followed ends."""
        record = self.records.get(key)
        if record is not None and record.state == "submitted" and record.ref is not None:
            task = next(task for task in self.tasks if str(task.number) == record.ref.task_id)
            task.state = end
            self.records[key] = attrs.evolve(record, state=end)

    @precondition(lambda self: any(r.state in ("undecided", "unknown") for r in self.records.values()))
    @rule(
        lag=st.integers(0, 3),
        order=st.sampled_from(["newest", "oldest", "rotated"]),
        cut=st.integers(1, 30),
        echo=st.sampled_from(["exact", "extra", "upper", "none"]),
        ahead=st.integers(-30000, 30000),
    )
    def restart(self, lag: int, order: str, cut: int, echo: str, ahead: int) -> None:
        """The program is started again, and searches for the tasks of all lost runs."""
        self.now += 1
        for key, record in sorted(self.records.items()):
            if record.state not in ("undecided", "unknown"):
                continue
            rows = [self.shown(task, echo, ahead) for task in self.visible(lag)]
            oldest = rows[-1].id if rows else None
            rows = rows[::-1] if order == "oldest" else rows[1:] + rows[:1] if order == "rotated" else rows
            has_end = cut >= len(rows)
            verdict = judge(
                intent_of(PROMPTS[key]), record.intention.last_id_seen,
                Listing(tuple(rows[:cut]), True, has_end, oldest), self.others(record),
            )  # fmt: skip
            match verdict:
                case Adopt(ref):
                    self.records[key] = attrs.evolve(record, state="submitted", ref=TaskRef(ref.task_id, None))
                case Absent():
                    self.records[key] = attrs.evolve(record, state="refused")
                case _:
                    ids = tuple(task.id for task in verdict.candidates)
                    self.records[key] = attrs.evolve(record, state="unknown", candidates=ids)

    def shown(self, task: Task, echo: str, ahead: int) -> TaskInfo:
        """A row of the list."""
        prompt = task.prompt.upper() if echo == "upper" else task.prompt
        parameters: dict[str, JSON] = {"prompt": prompt, **({"seed": "-1"} if echo == "extra" else {})}
        return parse_task(
            {
                "id": str(task.number),
                "modelslugowner": "owner",
                "modelslugproject": "model",
                "parameters": None if echo == "none" else parameters,
                "createtime": str(1_700_000_000 + task.made_at + ahead),
            }
        )

    def others(self, record: Record) -> Others:
        """What the journal knows beside a lost run."""
        mark = record.intention.fingerprint
        alike = [r for r in self.records.values() if r.intention.fingerprint == mark]
        claimed = {r.ref.task_id for r in alike if r.ref is not None and r.ref.task_id is not None}
        rivals = [r for r in alike if r.state in ("undecided", "unknown")]
        witnesses = [
            Witness(r.ref, r.intention.fingerprint, r.position)
            for r in self.records.values()
            if r.ref is not None and r.position > record.position
        ]
        is_one = len({r.intention.digest for r in rivals}) <= 1
        return Others(claimed | self.former, witnesses, len(rivals), is_one)

    @invariant()
    def no_key_is_billed_twice(self) -> None:
        """Failed and cancelled tasks cost nothing."""
        bills = Counter(t.key for t in self.tasks if t.key is not None and t.state in ("running", "succeeded"))
        assert all(count == 1 for count in bills.values()), bills

    @invariant()
    def no_task_belongs_to_two_keys(self) -> None:
        """Each result is handed out under one key."""
        held = Counter(r.ref.task_id for r in self.records.values() if r.ref is not None)
        assert all(count == 1 for count in held.values()), held

    @invariant()
    def nothing_is_lost(self) -> None:
        """A run that has made a task is known, or its key is neither free nor ended."""
        for task in self.tasks:
            record = None if task.key is None else self.records[task.key]
            if record is not None and task.state == "running":
                assert record.state in ("submitted", "undecided", "unknown"), (task, record)


TestOneBill = OneBill.TestCase
