"""The endpoints that respond with one JSON object."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from wiro_async.testing._json import Json
from wiro_async.testing._records import Call, RefusedError
from wiro_async.testing._server.tool_lists import page, tool_detail, tool_explore, tool_list
from wiro_async.testing._service.emulated_task import EmulatedTask, row
from wiro_async.testing._service.service import Service

Handler: TypeAlias = Callable[[Service, Call], Mapping[str, Json]]
OK: Mapping[str, Json] = {"result": True, "errors": []}
FAR_FUTURE = 1e12


def _text(call: Call, name: str) -> str:
    value = call.parameters.get(name)
    return "" if value is None else str(value)


def _named_task(service: Service, call: Call, missing: str) -> EmulatedTask:
    token = _text(call, "tasktoken") or _text(call, "socketaccesstoken")
    if not token and not _text(call, "taskid"):
        raise RefusedError(0, "taskid or socketaccesstoken is required")
    task = service.find(token=token, task_id=_text(call, "taskid"))
    if task is None:
        raise RefusedError(1, missing)
    return task


def _list(service: Service, call: Call) -> Mapping[str, Json]:
    slug = _text(call, "modelName")
    tasks = [task for task in service.listed() if slug in ("", task.model.slug, task.model.slug.partition("/")[2])]
    if _text(call, "order").upper() != "ASC":
        tasks.reverse()
    rows = [row(task, FAR_FUTURE, service.speed, service.faults.clock_skew) for task in tasks[page(call.parameters)]]
    return {**OK, "total": str(len(tasks)), "tasklist": rows}


def _cancel(service: Service, call: Call) -> Mapping[str, Json]:
    if not _text(call, "taskid"):
        raise RefusedError(0, "Request parameter [taskid] required")
    task = service.find(task_id=_text(call, "taskid"))
    if task is None:
        raise RefusedError(1, "task-not-exist")
    if task.status != "task_queue":
        raise RefusedError(1, "Task is not in a cancellable state.")
    service.player(task).cancel()
    return OK


def _kill(service: Service, call: Call) -> Mapping[str, Json]:
    task = _named_task(service, call, "task-not-exist")
    if task.over or task.status == "task_queue":
        raise RefusedError(1, "Task could not be killed: it is not running")
    service.player(task).cancel()
    return OK


def _delete(service: Service, call: Call) -> Mapping[str, Json]:
    task = _named_task(service, call, "task-not-exist")
    if not task.over:
        raise RefusedError(1, "Task is still running.")
    service.delete_outputs(task)
    return OK


def _upload(service: Service, call: Call) -> Mapping[str, Json]:
    part = next((file for file in call.files if file.field == "file"), None)
    if part is None:
        raise RefusedError(0, "Request files [file] required")
    parent = _text(call, "folderid")
    file = service.files.add(part.name, part.content_type, part.data or b"", size=part.size, parent_id=parent)
    return {**OK, "list": [file.entry()]}


def _folder(service: Service, call: Call) -> Mapping[str, Json]:
    name = _text(call, "name")
    if not name:
        raise RefusedError(0, "Request parameter [name] required")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise RefusedError(0, "Request parameter [name] is invalid")
    folder = service.files.add(name, "folder", b"", parent_id=_text(call, "parentid"))
    return {**OK, "list": [folder.entry()]}


HANDLERS: Mapping[str, Handler] = {
    "Task/Detail": lambda service, call: service.detail(_named_task(service, call, "There is no task yet.")),
    "Task/List": _list,
    "Task/Cancel": _cancel,
    "Task/Kill": _kill,
    "Task/InputOutputDelete": _delete,
    "File/Upload": _upload,
    "File/FolderCreate": _folder,
    "Tool/List": lambda service, call: tool_list(service.models, call.parameters),
    "Tool/Detail": lambda service, call: tool_detail(service.models, call.parameters),
    "Tool/Explore": lambda service, call: tool_explore(service.models),
}
