"""A task of the emulator, and how Task/Detail and Task/List show it."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import attrs
import orjson

from wiro_async.testing._records import Generation, Json, TaskSnapshot
from wiro_async.testing._scripts import ModelScript, Outputs, RawOutput, Script
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
    """One message of a task, encoded once for all who listen."""

    type: str
    payload: bytes
    over: bool = False
    segments: Sequence[Mapping[str, Json]] | None = None


@attrs.define(eq=False)
class EmulatedTask:
    """One run: its script, how far it got, and a history that lets a lagging Detail look back."""

    id: str
    token: str
    model: ModelScript
    script: Script
    generation: Generation
    parameters: Mapping[str, Json]
    callback_url: str = ""
    project_id: str = "716"
    ordinal: int = 0
    given: Mapping[str, Json] = attrs.field(factory=dict[str, Json])
    created: float = attrs.field(factory=time.time)
    history: list[tuple[float, str]] = attrs.field(init=False)
    log: list[tuple[float, str, str]] = attrs.field(factory=list[tuple[float, str, str]], init=False)
    outputs: tuple[StoredFile | RawOutput, ...] = attrs.field(default=(), init=False)
    watchers: dict[object, Callable[[TaskMessage], None]] = attrs.field(
        factory=dict[object, Callable[[TaskMessage], None]], init=False
    )
    position: int = attrs.field(default=0, init=False)
    clock: float = attrs.field(default=0.0, init=False)
    timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    rendering: asyncio.Future[Outputs] | None = attrs.field(default=None, init=False)
    details: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.history = [(self.created, "task_queue")]

    @property
    def status(self) -> str:
        """The status as of now."""
        return self.history[-1][1]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in OVER

    @property
    def pexit(self) -> str:
        """The exit code, empty while there is none."""
        return self.script.exit_code if self.status == "task_postprocess_end" else ""

    def enter(self, status: str) -> None:
        """Take a new status, now."""
        if status != self.status:
            self.history.append((time.time(), status))

    def snapshot(self) -> TaskSnapshot:
        """The true state, for the ledger."""
        return TaskSnapshot(self.id, self.token, self.model.slug, self.status, self.pexit, self.over)


def row(task: EmulatedTask, as_of: float, speed: float) -> dict[str, Json] | None:
    """The task as it stood at `as_of` (Unix time), or None if it did not exist then."""
    seen = bisect_right(task.history, as_of, key=lambda entry: entry[0])
    if not seen:
        return None
    status = task.history[seen - 1][1]
    entered = {name: at for at, name in reversed(task.history[:seen])}
    succeeded = status == "task_postprocess_end" and task.script.exit_code == "0"
    cost = task.script.cost if succeeded else Decimal(0)
    return {
        **_identity(task),
        "status": status,
        "pexit": task.script.exit_code if status == "task_postprocess_end" else None,
        "debugoutput": "".join(out for at, out, _ in task.log if at <= as_of),
        "debugerror": "".join(error for at, _, error in task.log if at <= as_of),
        "elapsedseconds": f"{_elapsed(entered, as_of) * speed:.4f}",
        "totalcost": f"{cost:.12f}" if cost else "0",
        **{stamp: _seconds(entered.get(stage)) for stamp, stage in STAMPS.items()},
        "size": str(sum(file.size for file in task.outputs if isinstance(file, StoredFile))),
        "outputs": listing(task) if status in OVER else None,
    }


def listing(task: EmulatedTask) -> list[Json]:
    """The outputs as Detail and the last socket message show them."""
    return [
        output.entry() if isinstance(output, StoredFile) else {"contenttype": "raw", "content": output.content}
        for output in task.outputs
    ]


def _identity(task: EmulatedTask) -> dict[str, Json]:
    tool = task.model.tool
    owner, _, project = task.model.slug.partition("/")
    categories = tool.get("categories", [])
    older = task.generation == "older"
    return {
        "id": task.id,
        "uuid": f"uuid-{task.id}",
        "name": "",
        "socketaccesstoken": task.token,
        "parameters": orjson.dumps(task.parameters).decode() if older else task.parameters,
        "cps": str(tool.get("cps", "0.001")),
        "projectid": task.project_id,
        "modelid": str(tool.get("id", "611")),
        "runtype": "model",
        "callbackurl": task.callback_url,
        "createtime": _seconds(task.created),
        "categories": orjson.dumps(categories).decode() if older else categories,
        "dynamicprice": tool.get("dynamicprice", ""),
        "modeldescription": tool.get("description", ""),
        "modelslugowner": owner,
        "modelslugproject": project,
    }


def _elapsed(entered: Mapping[str, float], as_of: float) -> float:
    start = entered.get("task_start")
    return entered.get("task_end", entered.get("task_cancel", as_of)) - start if start else 0.0


def _seconds(moment: float | None) -> str:
    return str(int(moment)) if moment else "0"
