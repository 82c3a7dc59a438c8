"""Socket messages in both generations of the service."""

from collections.abc import Mapping

from wiro_async.testing._json import Json, encode, encode_text
from wiro_async.testing._scripts import Step
from wiro_async.testing._service.emulated_task import OVER, EmulatedTask, TaskMessage, listing

WELCOME = TaskMessage("connected", b'{"type":"connected","version":"1.0"}')


def task_message(task: EmulatedTask, step: Step) -> TaskMessage:
    """Return the message that a step of a task sends."""
    over = step.type in OVER
    body: dict[str, Json] = {"type": step.type, "id": task.id}
    if task.generation == "older":
        # Older messages name the token, and hold progress as JSON text.
        nested = isinstance(step.message, Mapping) and step.message.get("stepTotal")
        message = encode_text(step.message) if nested else step.message
        body |= {"tasktoken": task.token, "message": message, "result": True}
    else:
        body |= {"message": "" if step.type == "task_output_full" else step.message, "result": True}
    body.update(step.extra)
    if step.type == "task_postprocess_end":
        body["message"] = listing(task)
    if over and _has_outcome(task):
        exit_code = int(task.pexit) if task.pexit else None
        body |= {"success": exit_code == 0, "terminal": True, "exitCode": exit_code}
    return TaskMessage(step.type, encode(body), over, step.segments)


def _has_outcome(task: EmulatedTask) -> bool:
    """Return whether the last message has the exit code. Some newer messages do: here every other pair of tasks."""
    return task.generation == "newer" and task.ordinal // 2 % 2 == 0
