"""Plays the timelines of all tasks on one event loop's timers."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import attrs

from wiro_async.testing._scripts import CLOSING, OPENING, FileOutput, Outputs, Step
from wiro_async.testing._service.emulated_task import EmulatedTask
from wiro_async.testing._service.file_store import FileStore
from wiro_async.testing._service.socket_messages import encode

STAGES = frozenset({"task_queue", "task_output", "task_cancel", *OPENING, *CLOSING})


@attrs.define(eq=False)
class Player:
    """Takes each task through its steps, `speed` times as fast as written."""

    speed: float
    files: FileStore
    on_over: Callable[[EmulatedTask], None]
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _pool: ThreadPoolExecutor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="wiro-emulator-outputs")

    def start(self, task: EmulatedTask) -> None:
        """Begin to play a task."""
        task.clock = self._loop.time()
        self._advance(task)

    def cancel(self, task: EmulatedTask) -> None:
        """End a task as `task_cancel`, wherever it stands."""
        if task.timer:
            task.timer.cancel()
        task.position = len(task.script.steps)
        self.emit(task, Step("task_cancel"))

    def extend(self, task: EmulatedTask, steps: tuple[Step, ...]) -> None:
        """Give a task more to do after what it has."""
        waiting = task.position == len(task.script.steps)
        task.script = attrs.evolve(task.script, steps=(*task.script.steps, *steps))
        if waiting:
            self.start(task)

    def emit(self, task: EmulatedTask, step: Step) -> None:
        """Let a step happen now: status, log, message to all who watch."""
        if step.type in STAGES or step.stored:
            task.enter(step.type)
        if step.log or step.error:
            task.log.append((time.time(), step.log, step.error))
        if task.watchers:
            message = encode(task, step)
            for tracked in list(task.watchers.values()):
                tracked(message)
        if task.over:
            self.on_over(task)

    def close(self) -> None:
        """Let the rendering threads end."""
        self._pool.shutdown(cancel_futures=True)

    def _advance(self, task: EmulatedTask) -> None:
        steps = task.script.steps
        while task.position < len(steps):
            step = steps[task.position]
            due = task.clock + step.after / self.speed
            if due > self._loop.time():
                task.timer = self._loop.call_at(due, self._advance, task)
                return
            if step.type == "task_postprocess_end" and not self._collected(task):
                return
            task.clock = due
            task.position += 1
            if step.type == "task_start":
                self._render(task)
            self.emit(task, step)

    def _render(self, task: EmulatedTask) -> None:
        outputs = task.script.outputs
        if callable(outputs):
            task.rendering = self._loop.run_in_executor(self._pool, outputs)

    def _collected(self, task: EmulatedTask) -> bool:
        """Whether the outputs are there; if not, the task goes on when they are."""
        outputs = task.script.outputs
        if callable(outputs):
            rendering = task.rendering
            if rendering is None:
                self._render(task)
                rendering = task.rendering
            assert rendering is not None
            if not rendering.done():
                rendering.add_done_callback(lambda _: self._advance(task))
                return False
            outputs = self._rendered(task, rendering)
        task.outputs = tuple(
            self.files.add(output.name, output.content_type, output.data, task=task.ordinal)
            if isinstance(output, FileOutput)
            else output
            for output in outputs
        )
        return True

    def _rendered(self, task: EmulatedTask, rendering: asyncio.Future[Outputs]) -> Outputs:
        problem = rendering.exception()
        if problem is None:
            return rendering.result()
        task.script = attrs.evolve(task.script, exit_code="1", outputs=())
        task.log.append((time.time(), f"{problem}\n", f"{problem}\n"))
        return ()
