"""Socket messages in both generations."""

from collections.abc import Mapping

import orjson

from wiro_async.testing._records import Json
from wiro_async.testing._scripts import Step
from wiro_async.testing._service.emulated_task import OVER, EmulatedTask, TaskMessage, listing

WELCOME = TaskMessage("connected", b'{"type":"connected","version":"1.0"}')


def encode(task: EmulatedTask, step: Step) -> TaskMessage:
    """The message that a step of a task sends."""
    over = step.type in OVER
    body: dict[str, Json] = {"type": step.type, "id": task.id}
    if task.generation == "older":
        body |= {"tasktoken": task.token, "message": _older(step), "result": True}
    else:
        body |= {"message": "" if step.type == "task_output_full" else step.message, "result": True}
    body.update(step.extra)
    if step.type == "task_postprocess_end":
        body["message"] = listing(task)
    if over and _says_how_it_ended(task):
        exit_code = int(task.pexit) if task.pexit else None
        body |= {"success": exit_code == 0, "terminal": True, "exitCode": exit_code}
    return TaskMessage(step.type, orjson.dumps(body), over, step.segments)


def _older(step: Step) -> Json:
    message = step.message
    if isinstance(message, Mapping) and message.get("stepTotal"):
        return orjson.dumps(message).decode()
    return message


def _says_how_it_ended(task: EmulatedTask) -> bool:
    """Newer messages sometimes carry the outcome: here every other pair of tasks does."""
    return task.generation == "newer" and task.ordinal // 2 % 2 == 0
