"""Runs that hold their request open (`/sync`): one JSON response, or server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response, StreamingResponse

from wiro_async.testing._json import Json, encode
from wiro_async.testing._server.bodies import json_response
from wiro_async.testing._service.emulated_task import EmulatedTask, TaskMessage
from wiro_async.testing._service.service import Service

KEEP_ALIVE = 15.0  # seconds of silence after which a stream sends a comment, before the emulator's speed


def accepted(task: EmulatedTask) -> dict[str, Json]:
    return {"result": True, "errors": [], "taskid": task.id, "socketaccesstoken": task.token}


async def result_response(service: Service, task: EmulatedTask) -> Response:
    """Wait for the end and respond like Task/Detail. After `sync_timeout`, respond with 504 and the ids."""
    over = asyncio.Event()

    def listener(message: TaskMessage) -> None:
        if message.over:
            over.set()

    task.listen(listener)
    try:
        async with asyncio.timeout(service.faults.sync_timeout):
            if not task.over:
                await over.wait()
    except TimeoutError:
        errors: Json = [{"code": 0, "message": "Request timed out."}]
        return json_response({**accepted(task), "result": False, "errors": errors}, 504)
    finally:
        task.unlisten(listener)
    return json_response(service.detail(task))


def event_stream(service: Service, task: EmulatedTask) -> Response:
    headers = {"cache-control": "no-cache"}
    return StreamingResponse(_events(service, task), headers=headers, media_type="text/event-stream")


async def _events(service: Service, task: EmulatedTask) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[TaskMessage] = asyncio.Queue()
    listener = queue.put_nowait
    task.listen(listener)
    try:
        yield _event("start", {"taskid": task.id, "socketaccesstoken": task.token})
        yield b": keep-alive\n\n"
        while not task.over or not queue.empty():
            try:
                async with asyncio.timeout(KEEP_ALIVE / service.speed):
                    message = await queue.get()
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            if message.type == "task_output":
                body = {"id": task.id, "status": task.status, "pexit": None, "segments": message.segments or []}
                yield _event("task_output", body)
        yield _event("done", service.detail(task))
    finally:
        task.unlisten(listener)


def _event(name: str, data: Mapping[str, Json]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"
