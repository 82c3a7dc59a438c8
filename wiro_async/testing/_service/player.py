"""Plays the timeline of a task on the timers of the event loop.

There is no asyncio task for each run: a thousand runs are a thousand timers, which cost the server next to nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from wiro_async.testing._scripts import CLOSING, OPENING, FileOutput, Outputs, Step
from wiro_async.testing._service.emulated_task import EmulatedTask
from wiro_async.testing._service.file_store import FileStore
from wiro_async.testing._service.socket_messages import task_message

STAGES = frozenset({"task_queue", "task_output", "task_cancel", *OPENING, *CLOSING})


@attrs.define(eq=False)
class Player:
    """Takes one task through its steps, `speed` times as fast as its script says."""

    task: EmulatedTask
    speed: float
    _files: FileStore
    _threads: ThreadPoolExecutor
    _on_over: Callable[[EmulatedTask], None]  # called once the task has ended
    _position: int = attrs.field(default=0, init=False)
    _clock: float = attrs.field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _rendering: asyncio.Future[Outputs] | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        self._clock = asyncio.get_running_loop().time()
        self._advance()

    def cancel(self) -> None:
        """End the task with `task_cancel`, whatever its status."""
        if self._timer:
            self._timer.cancel()
        self._position = len(self.task.script.steps)
        self.emit(Step("task_cancel"))

    def extend(self, steps: Sequence[Step]) -> None:
        waiting = self._position == len(self.task.script.steps)
        self.task.extend(steps)
        if waiting:
            self.start()

    def emit(self, step: Step) -> None:
        """Play a step now: change the status, write the log, send the message."""
        task = self.task
        if step.type in STAGES or step.stored:
            task.enter(step.type)
        if step.log or step.error:
            task.write_log(step.log, step.error)
        if task.has_listeners:
            task.publish(task_message(task, step))
        if task.over:
            self._on_over(task)

    def _advance(self) -> None:
        """Play all steps that are due, and set the timer for the next one."""
        loop, steps = asyncio.get_running_loop(), self.task.script.steps
        while self._position < len(steps):
            step = steps[self._position]
            due = self._clock + step.after / self.speed
            if due > loop.time():
                self._timer = loop.call_at(due, self._advance)
                return
            if step.type == "task_postprocess_end" and not self._collect_outputs():
                return
            self._clock = due
            self._position += 1
            if step.type == "task_start":
                self._render()
            self.emit(step)

    def _render(self) -> asyncio.Future[Outputs] | None:
        """Start the function that makes the outputs, in a thread. Returns None if the outputs need none."""
        outputs = self.task.script.outputs
        if self._rendering is None and callable(outputs):
            self._rendering = asyncio.get_running_loop().run_in_executor(self._threads, outputs)
        return self._rendering

    def _collect_outputs(self) -> bool:
        """Store the outputs. Returns False if they are not ready; the task then continues when they are."""
        outputs = self.task.script.outputs
        if callable(outputs):
            rendering = self._render()  # a script without `task_start` has not rendered yet
            assert rendering is not None
            if not rendering.done():
                rendering.add_done_callback(lambda _: self._advance())
                return False
            problem = rendering.exception()
            if problem is not None:
                self.task.fail(problem)
            outputs = () if problem is not None else rendering.result()
        self.task.set_outputs(
            [
                self._files.add(output.name, output.content_type, output.data, task=self.task.ordinal)
                if isinstance(output, FileOutput)
                else output
                for output in outputs
            ]
        )
        return True
