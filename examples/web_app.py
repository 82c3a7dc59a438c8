# /// script
# requires-python = ">=3.11"
# dependencies = ["wiro-async", "fastapi>=0.135", "uvicorn>=0.30"]
# ///
"""A web page that shows an answer while it is written, and the progress of a picture.

python web_app.py [port] [owner/text-model] [owner/picture-model]

Closing the tab or pressing Stop stops the models, so unseen runs cost nothing. Each question is billed:
add a login and a limit before you publish this page.
"""

import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import anyio
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, StringConstraints

from wiro_async import (
    AsyncWiro,
    EventStream,
    InvalidInputError,
    Progress,
    StatusChanged,
    TaskFailedError,
    TaskHandle,
    TextReset,
    WiroError,
)

PAGE = Path(__file__).with_suffix(".html")
# The types in which a browser may get outputs from this app: never HTML or SVG, which could hold scripts.
PICTURES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
logger = logging.getLogger("uvicorn.error")
routes = APIRouter()


class Question(BaseModel):
    """A visitor's question."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


def create_app(text_model: str = "openai/gpt-5-2", picture_model: str = "google/nano-banana-pro") -> FastAPI:
    """Make the app. One session with Wiro serves all visitors; it reads its key from WIRO_API_KEY."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, object]]:
        with TemporaryDirectory(prefix="pictures-") as folder:
            app.mount("/pictures", StaticFiles(directory=folder))
            async with AsyncWiro() as wiro:
                models = {"text_model": text_model, "picture_model": picture_model}
                yield {"wiro": wiro, "folder": Path(folder), **models}  # the content of `request.state`

    app = FastAPI(lifespan=lifespan)
    app.include_router(routes)
    return app


async def ending() -> AsyncIterator[AsyncExitStack]:
    """Provide a stack that is closed at the end of the request, even if the response was not read to its end.

    An `async with` around a `yield` is not enough: FastAPI may drop a generator that waits there, and its cleanup then
    waits for the garbage collector.
    """
    async with AsyncExitStack() as stack:
        yield stack


Ending = Annotated[AsyncExitStack, Depends(ending)]


@routes.get("/")
async def page() -> FileResponse:
    return FileResponse(PAGE)


# POST, not the GET of a browser's EventSource: an EventSource reconnects by itself, and each time a new run would be
# billed. When the visitor leaves, the request ends, and that stops the task.
@routes.post("/answer", response_class=EventSourceResponse)
async def answer(question: Question, request: Request, ending: Ending) -> AsyncIterator[ServerSentEvent]:
    wiro: AsyncWiro = request.state.wiro
    try:
        stream = await ending.enter_async_context(wiro.stream(request.state.text_model, {"prompt": question.prompt}))
        async for delta in stream:
            if isinstance(delta, TextReset):
                yield sse("reset", kind=delta.kind)
            else:
                yield sse("delta", kind=delta.kind, text=delta.text)
        result = await stream.result()
        tokens = result.usage.get("total_tokens")
        yield sse("done", reason=result.finish_reason, tokens=tokens, seconds=result.elapsed)
    except WiroError as error:
        yield sse("failed", message=explain(error))


@routes.post("/picture", response_class=EventSourceResponse)
async def picture(question: Question, request: Request, ending: Ending) -> AsyncIterator[ServerSentEvent]:
    wiro: AsyncWiro = request.state.wiro
    try:
        task = await wiro.submit(request.state.picture_model, {"prompt": question.prompt})
        async for event in await ending.enter_async_context(owning(task)):
            if isinstance(event, Progress):
                yield sse("progress", fraction=event.fraction, eta=event.eta)
            elif isinstance(event, StatusChanged):
                yield sse("status", status=event.status)
        result = await task  # raises TaskFailedError or TaskCancelledError without one
        name = f"{uuid4().hex}{PICTURES.get(result.output.content_type, '.bin')}"
        await result.output.save(request.state.folder / name, max_bytes=50 * 2**20)
        yield sse("done", url=f"/pictures/{name}", seconds=result.elapsed)
    except WiroError as error:
        yield sse("failed", message=explain(error))


@asynccontextmanager
async def owning(task: TaskHandle) -> AsyncGenerator[EventStream]:
    """Yield the events of a task, and stop the task if they are left before its end."""
    async with task.events() as events:
        try:
            yield events
        finally:
            if events.over is None:
                with anyio.move_on_after(5, shield=True), suppress(WiroError):
                    await task.cancel()


def sse(event: str, **data: object) -> ServerSentEvent:
    """Return a server-sent event."""
    return ServerSentEvent(event=event, data=data)


def explain(error: WiroError) -> str:
    """Return a message for the visitor, and log the error."""
    logger.warning("task %s: %s", error.task_id, error)
    match error:
        case InvalidInputError():
            return f"The model does not accept this question: {error}"
        case TaskFailedError():
            return "The model failed on this question. Try to ask it differently."
        case _:
            return "The model is not available at the moment. Please try again later."


def main(port: str = "8000", *models: str) -> None:
    # When the server stops, open responses have three seconds to end.
    uvicorn.run(create_app(*models), port=int(port), timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(*sys.argv[1:])
