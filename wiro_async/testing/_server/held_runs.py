"""Runs that hold the request open: JSON, or server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import orjson
from starlette.responses import Response, StreamingResponse

from wiro_async.testing._records import Json
from wiro_async.testing._service.emulated_task import EmulatedTask, TaskMessage
from wiro_async.testing._service.service import Service

KEEP_ALIVE_SECONDS = 15.0


def _ids(task: EmulatedTask) -> dict[str, Json]:
    return {"result": True, "errors": [], "taskid": task.id, "socketaccesstoken": task.token}


def accepted(task: EmulatedTask) -> dict[str, Json]:
    """The answer of a plain Run."""
    return _ids(task)


async def as_json(service: Service, task: EmulatedTask) -> Response:
    """Wait for the end; answer like Task/Detail, or 504 with the ids."""
    over = asyncio.Event()
    task.watchers[over] = lambda message: over.set() if message.over else None
    try:
        async with asyncio.timeout(service.faults.sync_timeout):
            if not task.over:
                await over.wait()
    except TimeoutError:
        errors: Json = [{"code": 0, "message": "Request timed out."}]
        return _json({**_ids(task), "result": False, "errors": errors}, 504)
    finally:
        task.watchers.pop(over, None)
    return _json(service.detail(task))


def as_events(service: Service, task: EmulatedTask) -> Response:
    """The run as an event stream."""
    headers = {"cache-control": "no-cache"}
    return StreamingResponse(_events(service, task), headers=headers, media_type="text/event-stream")


async def _events(service: Service, task: EmulatedTask) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[TaskMessage] = asyncio.Queue()
    task.watchers[queue] = queue.put_nowait
    try:
        yield _event("start", {"taskid": task.id, "socketaccesstoken": task.token})
        yield b": keep-alive\n\n"
        while not task.over or not queue.empty():
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS / service.speed):
                    message = await queue.get()
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            if message.type == "task_output":
                body = {
                    "id": task.id,
                    "status": task.status,
                    "pexit": None,
                    "segments": message.segments or [],
                }
                yield _event("task_output", body)
        yield _event("done", service.detail(task))
    finally:
        task.watchers.pop(queue, None)


def _event(name: str, data: Mapping[str, Json]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def _json(body: Mapping[str, Json], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
