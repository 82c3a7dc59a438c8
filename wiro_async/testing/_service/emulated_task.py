"""A task of the emulator, and its row in the responses of Task/Detail and Task/List."""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

import attrs

from wiro_async.testing._json import Json, encode_text
from wiro_async.testing._records import Generation, TaskSnapshot
from wiro_async.testing._scripts import ModelScript, RawOutput, Script, Step
from wiro_async.testing._service.file_store import StoredFile

OVER = frozenset({"task_postprocess_end", "task_cancel"})
STAMPS = {
    "assigntime": "task_assign",
    "accepttime": "task_accept",
    "preprocessstarttime": "task_preprocess_start",
    "preprocessendtime": "task_preprocess_end",
    "starttime": "task_start",
    "endtime": "task_end",
    "postprocessstarttime": "task_postprocess_start",
    "postprocessendtime": "task_postprocess_end",
    "canceltime": "task_cancel",
}


@attrs.frozen
class TaskMessage:
    """One message of a task, encoded once for all listeners."""

    type: str
    payload: bytes
    over: bool = False
    segments: Sequence[Mapping[str, Json]] | None = None


Listener: TypeAlias = Callable[[TaskMessage], None]


@attrs.define(eq=False)
class EmulatedTask:
    """One run: its script, its status, its outputs and its listeners.

    The history of statuses lets a lagging Task/Detail show the past.
    """

    id: str
    token: str
    model: ModelScript
    script: Script
    generation: Generation
    parameters: Mapping[str, Json]  # as Task/Detail shows them
    callback_url: str = ""
    project_id: str = "716"
    ordinal: int = 0  # number of tasks that were created before this one
    sent: Mapping[str, Json] = attrs.field(factory=dict[str, Json])  # as the client sent them
    created: float = attrs.field(factory=time.time)
    history: list[tuple[float, str]] = attrs.field(init=False)
    log: list[tuple[float, str, str]] = attrs.field(factory=list[tuple[float, str, str]], init=False)
    outputs: tuple[StoredFile | RawOutput, ...] = attrs.field(default=(), init=False)
    details: int = attrs.field(default=0, init=False)  # number of Task/Detail requests for this task
    _listeners: dict[Listener, None] = attrs.field(factory=dict[Listener, None], init=False)

    def __attrs_post_init__(self) -> None:
        self.history = [(self.created, "task_queue")]

    @property
    def status(self) -> str:
        return self.history[-1][1]

    @property
    def over(self) -> bool:
        return self.status in OVER

    @property
    def pexit(self) -> str:
        """The exit code, or "" before the end."""
        return self.script.exit_code if self.status == "task_postprocess_end" else ""

    def enter(self, status: str) -> None:
        if status != self.status:
            self.history.append((time.time(), status))

    def write_log(self, output: str, error: str) -> None:
        self.log.append((time.time(), output, error))

    def count_detail(self) -> int:
        self.details += 1
        return self.details

    def extend(self, steps: Sequence[Step]) -> None:
        self.script = attrs.evolve(self.script, steps=(*self.script.steps, *steps))

    def add_cost(self, cost: Decimal) -> Decimal:
        self.script = attrs.evolve(self.script, cost=self.script.cost + cost)
        return self.script.cost

    def fail(self, problem: object) -> None:
        """Make the task end with exit code 1, and log the reason."""
        self.script = attrs.evolve(self.script, exit_code="1", outputs=())
        self.write_log(f"{problem}\n", f"{problem}\n")

    def set_outputs(self, outputs: Sequence[StoredFile | RawOutput]) -> None:
        self.outputs = tuple(outputs)

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Call a function with every further message, the last one included."""
        self._listeners[listener] = None

    def unlisten(self, listener: Listener) -> None:
        """Stop calling a function. Does nothing if it is not called."""
        self._listeners.pop(listener, None)

    def publish(self, message: TaskMessage) -> None:
        for listener in list(self._listeners):
            listener(message)
        if message.over:
            self._listeners.clear()

    def snapshot(self) -> TaskSnapshot:
        """Return the true state, for the ledger."""
        return TaskSnapshot(self.id, self.token, self.model.slug, self.status, self.pexit, self.over)


def row(task: EmulatedTask, as_of: float, speed: float, skew: float) -> dict[str, Json] | None:
    """Return the task as it was at `as_of` (Unix time), or None if it did not exist then.

    Args:
        skew: seconds by which the clock that its times show is ahead.
    """
    seen = bisect_right(task.history, as_of, key=lambda entry: entry[0])
    if not seen:
        return None
    status = task.history[seen - 1][1]
    entered = {name: at for at, name in reversed(task.history[:seen])}
    start = entered.get("task_start")
    elapsed = entered.get("task_end", entered.get("task_cancel", as_of)) - start if start else 0.0
    succeeded = status == "task_postprocess_end" and task.script.exit_code == "0"
    cost = task.script.cost if succeeded else Decimal(0)
    return {
        **_identity(task, skew),
        "status": status,
        "pexit": task.script.exit_code if status == "task_postprocess_end" else None,
        "debugoutput": "".join(out for at, out, _ in task.log if at <= as_of),
        "debugerror": "".join(error for at, _, error in task.log if at <= as_of),
        "elapsedseconds": f"{elapsed * speed:.4f}",
        "totalcost": f"{cost:.12f}" if cost else "0",
        **{stamp: _seconds(entered.get(stage), skew) for stamp, stage in STAMPS.items()},
        "size": str(sum(file.size for file in task.outputs if isinstance(file, StoredFile))),
        "outputs": listing(task) if status in OVER else None,
    }


def listing(task: EmulatedTask) -> list[Json]:
    """Return the outputs as Task/Detail and the last socket message show them."""
    return [
        output.entry() if isinstance(output, StoredFile) else {"contenttype": "raw", "content": output.content}
        for output in task.outputs
    ]


def _identity(task: EmulatedTask, skew: float) -> dict[str, Json]:
    """Return the entries that never change."""
    tool = task.model.tool
    owner, _, project = task.model.slug.partition("/")
    categories = tool.get("categories", [])
    older = task.generation == "older"
    return {
        "id": task.id,
        "uuid": f"uuid-{task.id}",
        "name": "",
        "socketaccesstoken": task.token,
        "parameters": encode_text(task.parameters) if older else task.parameters,
        "cps": str(tool.get("cps", "0.001")),
        "projectid": task.project_id,
        "modelid": str(tool.get("id", "611")),
        "runtype": "model",
        "callbackurl": task.callback_url,
        "createtime": _seconds(task.created, skew),
        "categories": encode_text(categories) if older else categories,
        "dynamicprice": tool.get("dynamicprice", ""),
        "modeldescription": tool.get("description", ""),
        "modelslugowner": owner,
        "modelslugproject": project,
    }


def _seconds(moment: float | None, skew: float) -> str:
    return str(int(moment + skew)) if moment else "0"
