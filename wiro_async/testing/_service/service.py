"""The state of the emulated service: tasks, files and money."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import attrs

from wiro_async.testing._faults.switches import Faults
from wiro_async.testing._json import Json
from wiro_async.testing._records import Call, Generation, RefusedError, Submission, TaskSnapshot, Upload
from wiro_async.testing._scripts import EarlierRun, ModelScript, RawOutput, RunInput, Script, Step
from wiro_async.testing._service.callback_delivery import deliver
from wiro_async.testing._service.emulated_task import EmulatedTask, row
from wiro_async.testing._service.file_store import FileStore, StoredFile
from wiro_async.testing._service.ledger import Ledger
from wiro_async.testing._service.player import Player
from wiro_async.testing._service.turn_rules import check_turn

FIRST_ID = 3066517
REQUEUE = (
    Step("task_accept"),
    Step("task_error", stored=True, after=0.02, error="Worker could not be started.\n"),
    Step("task_queue", after=0.1),
)


@attrs.define(eq=False)
class Service:
    """Everything behind the endpoints. Lives on the emulator's event loop."""

    models: Mapping[str, ModelScript]
    api_key: str
    api_secret: str | None
    balance: Decimal
    speed: float
    generation: str
    ledger: Ledger = attrs.field(init=False)
    faults: Faults = attrs.field(factory=Faults, init=False)
    files: FileStore = attrs.field(factory=FileStore, init=False)
    tasks: dict[str, EmulatedTask] = attrs.field(factory=dict[str, EmulatedTask], init=False)
    _tokens: dict[str, EmulatedTask] = attrs.field(factory=dict[str, EmulatedTask], init=False)
    _players: dict[str, Player] = attrs.field(factory=dict[str, Player], init=False)
    _deliveries: set[asyncio.Task[None]] = attrs.field(factory=set[asyncio.Task[None]], init=False)
    _threads: ThreadPoolExecutor | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self._snapshot, self.files.urls)

    def close(self) -> None:
        """End the threads that make outputs."""
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def find(self, *, token: str = "", task_id: str = "") -> EmulatedTask | None:
        return self._tokens.get(token) if token else self.tasks.get(task_id)

    def player(self, task: EmulatedTask) -> Player:
        """Return the player of a task that is not over."""
        return self._players[task.id]

    def earlier(self, token: str) -> EarlierRun | None:
        """Return the run with this token as a script sees it."""
        task = self.find(token=token) if token else None
        if task is None:
            return None
        contents = [output.content for output in task.outputs if isinstance(output, RawOutput)]
        return EarlierRun(task.model.slug, task.sent, task.pexit == "0", contents[0] if contents else {})

    def submit(self, slug: str, call: Call) -> EmulatedTask:
        """Accept a run and start it. Raises `RefusedError` if the service would refuse it."""
        model = self.models.get(slug)
        if model is None:
            raise RefusedError(1, "slug-owner-project-not-exist")
        generation = self._next_generation()
        files: dict[str, list[Upload]] = {}
        for upload in call.files:
            files.setdefault(upload.field, []).append(upload)
        inputs = RunInput(call.parameters, files, generation, self.files.fetch, self.earlier)
        check_turn(model, inputs)
        script = model.play(inputs)
        self._check_limits()
        task = self._create(model, script, generation, call)
        self.player(task).start()
        return task

    def seen(self, task: EmulatedTask) -> dict[str, Json] | None:
        """Return the task as Task/Detail shows it, or None while a fault hides it."""
        quirks = self.faults.quirks(task.ordinal)
        if task.count_detail() <= quirks.empty_tasklist:
            return None
        return row(task, time.time() - quirks.detail_lag, self.speed, self.faults.clock_skew)

    def listed(self) -> list[EmulatedTask]:
        """Return the tasks that Task/List shows, oldest first."""
        now = time.time()
        return [task for task in self.tasks.values() if now - task.created >= self.faults.quirks(task.ordinal).list_lag]

    def detail(self, task: EmulatedTask) -> dict[str, Json]:
        seen = self.seen(task)
        return {"result": True, "errors": [], "total": "1" if seen else "0", "tasklist": [seen] if seen else []}

    def delete_outputs(self, task: EmulatedTask) -> None:
        """Remove a task's output files. The task stays."""
        for output in task.outputs:
            if isinstance(output, StoredFile):
                self.files.remove(output.access_key)
        task.set_outputs([])

    def _next_generation(self) -> Generation:
        if self.generation == "mixed":
            return "newer" if len(self.tasks) % 2 else "older"
        return "older" if self.generation == "older" else "newer"

    def _check_limits(self) -> None:
        if self.balance <= 0:
            raise RefusedError(97, "Insufficient balance.")
        limit = max(1, int(self.balance / 10))
        if self.balance <= 250 and len(self._players) >= limit:
            raise RefusedError(
                96, f"You have too many running tasks, with your balance you can run up to {limit} tasks"
            )

    def _create(self, model: ModelScript, script: Script, generation: Generation, call: Call) -> EmulatedTask:
        sent = dict(call.parameters)
        callback_url, project_id = (str(sent.pop(name, "") or "") for name in ("callbackUrl", "projectid"))
        ordinal = len(self.tasks)
        if self.faults.quirks(ordinal).stored_error:
            script = attrs.evolve(script, steps=(*REQUEUE, *script.steps))
        task = EmulatedTask(
            id=str(FIRST_ID + ordinal),
            token=secrets.token_urlsafe(24),
            model=model,
            script=script,
            generation=generation,
            parameters={name: echo(value) for name, value in sent.items()} | self._store(call.files),
            callback_url=callback_url,
            project_id=project_id or "716",
            ordinal=ordinal,
            sent=sent,
        )
        self.tasks[task.id] = self._tokens[task.token] = task
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="wiro-emulator-outputs")
        self._players[task.id] = Player(task, self.speed, self.files, self._threads, self._finish)
        self.ledger.submissions.append(
            Submission(task.id, task.token, model.slug, sent, call.files, callback_url, project_id, task.created)
        )
        return task

    def _store(self, uploads: Sequence[Upload]) -> dict[str, Json]:
        """Store uploads and return them as the parameters echo them: one URL, or a list of URLs."""
        urls: dict[str, list[str]] = {}
        for upload in uploads:
            file = self.files.add(upload.name, upload.content_type, upload.data or b"", size=upload.size)
            urls.setdefault(upload.field, []).append(file.url)
        return {field: found[0] if len(found) == 1 else found for field, found in urls.items()}

    def _finish(self, task: EmulatedTask) -> None:
        """Free the task's slot, bill it and send its callback."""
        self._players.pop(task.id, None)
        if task.status == "task_postprocess_end" and task.script.exit_code == "0":
            self.balance -= task.script.cost
        if task.callback_url:
            body: dict[str, Json] = {"result": True, "errors": [], "total": "1"}
            body["tasklist"] = [row(task, time.time(), self.speed, self.faults.clock_skew)]
            delivery = asyncio.create_task(deliver(task.id, task.callback_url, body, self.ledger.callbacks))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    def _snapshot(self) -> dict[str, TaskSnapshot]:
        return {task.id: task.snapshot() for task in list(self.tasks.values())}


def echo(value: Json) -> Json:
    """Return a parameter as the service echoes it: numbers and booleans as strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return {key: echo(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [echo(item) for item in value]
    return value
