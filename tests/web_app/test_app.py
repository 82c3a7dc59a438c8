"""The example web app as a client sees it: events, errors, and tasks that are stopped."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wiro_async import AsyncWiro
from wiro_async.testing import DelayAnswer, FileOutput, ModelScript, Respond, Script, Step, WiroEmulator
from wiro_async.testing import timeline as played

if TYPE_CHECKING:
    from tests.conftest import Until
    from tests.web_app.conftest import Serving

Event = tuple[str, dict[str, Any]]


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Yield the server-sent events of a response as (name, data)."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def asked(url: str, path: str, prompt: str = "tides") -> list[Event]:
    """Ask a question, and return all events."""
    async with httpx.AsyncClient() as client, client.stream("POST", url + path, json={"prompt": prompt}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(response)]


def one_task(emulator: WiroEmulator) -> str:
    """Return the status of the only task."""
    (task,) = emulator.ledger.tasks.values()
    return task.status


async def test_an_answer_in_pieces(slow_emulator: WiroEmulator, wiro: AsyncWiro, serving: Serving) -> None:
    """Thinking and answer are separate, and the pieces make the model's text."""
    async with serving(slow_emulator) as url:
        received = await asked(url, "/answer", "  Tides <b>&</b>  ")
    deltas = [data for name, data in received if name == "delta"]
    result = await wiro.run("emulator/writer", {"prompt": "Tides <b>&</b>"})
    assert len(deltas) > 3
    assert "".join(data["text"] for data in deltas if data["kind"] == "answer") == result.text
    assert "".join(data["text"] for data in deltas if data["kind"] == "thinking") == result.thinking
    assert received[-1][0] == "done"


async def test_progress_and_then_the_picture(slow_emulator: WiroEmulator, serving: Serving) -> None:
    """Progress only grows, and the picture has a URL of the app."""
    async with serving(slow_emulator) as url:
        received = await asked(url, "/picture")
        fractions = [data["fraction"] for name, data in received if name == "progress"]
        assert fractions == sorted(fractions)
        assert len(fractions) > 2
        name, data = received[-1]
        assert name == "done"
        async with httpx.AsyncClient() as client:
            picture = await client.get(url + data["url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path, model, seen",
    [
        ("/answer", "emulator/writer", "delta"),
        ("/answer", "emulator/stuck", None),
        ("/answer", "emulator/queued", None),
        ("/picture", "emulator/painter", "progress"),
        ("/picture", "emulator/stuck", "status"),
    ],
)
async def test_a_client_that_leaves_stops_the_task(
    serving: Serving, until: Until, path: str, model: str, seen: str | None
) -> None:
    """A client that disconnects stops the task, before, in and after the queue."""
    with WiroEmulator(speed=0.2) as emulator:
        async with serving(emulator, model, model) as url, httpx.AsyncClient() as client:
            async with client.stream("POST", url + path, json={"prompt": "tides"}) as response:
                received = events(response)
                while seen and (await anext(received))[0] != seen:
                    pass
                await until(lambda: emulator.ledger.submissions)
            await until(lambda: one_task(emulator) == "task_cancel")
        assert emulator.ledger.count("Run/*") == 1


@pytest.mark.parametrize("path", ["/answer", "/picture"])
async def test_a_client_that_leaves_during_the_submission_stops_the_task(
    emulator: WiroEmulator, serving: Serving, until: Until, path: str
) -> None:
    """The app does not know the task yet, and it is stopped."""
    emulator.faults.http("Run/*", DelayAnswer(1))
    async with serving(emulator, "emulator/stuck", "emulator/stuck") as url, httpx.AsyncClient() as client:
        async with client.stream("POST", url + path, json={"prompt": "tides"}):
            await until(lambda: emulator.ledger.submissions)
        await until(lambda: one_task(emulator) == "task_cancel")


async def test_a_client_that_stops_reading_and_leaves_stops_the_task(serving: Serving, until: Until) -> None:
    """The app is blocked while it sends an event, and the task is stopped."""
    pages = [Step("task_output", {"type": "answer", "raw": "x" * 2_000_000 * n}, after=0.05) for n in range(1, 9)]
    start = [Step("task_accept"), Step("task_start")]
    model = ModelScript("test/verbose", lambda given: Script((*start, *pages)))
    with WiroEmulator(models=[model]) as emulator:
        async with serving(emulator, "test/verbose") as url:
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1024)
            body = b'{"prompt": "tides"}'
            head = (
                f"POST /answer HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await until(lambda: emulator.ledger.submissions)
            await asyncio.sleep(1)
            gc.disable()  # nothing may depend on it
            try:
                writer.transport.abort()
                await until(lambda: one_task(emulator) == "task_cancel")
            finally:
                gc.enable()
            gc.collect()
            await asyncio.sleep(0.1)


async def test_a_server_that_is_stopped_stops_its_tasks(serving: Serving, until: Until) -> None:
    """Open responses have three seconds. Their tasks are stopped."""
    with WiroEmulator(speed=0.05) as emulator:
        async with serving(emulator) as url:
            asking = asyncio.create_task(asked(url, "/answer"))
            await until(lambda: emulator.ledger.submissions)
            await asyncio.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            await asking
        assert one_task(emulator) == "task_cancel"


@pytest.mark.parametrize("path", ["/answer", "/picture"])
async def test_errors_for_visitors(emulator: WiroEmulator, serving: Serving, path: str) -> None:
    """A failure and a refusal are one sentence without logs or keys."""
    async with serving(emulator, "emulator/failing", "emulator/failing") as url:
        *_, failed = await asked(url, path)
        emulator.faults.http("Run/*", Respond(401, '{"result":false,"errors":[{"code":99,"message":"no"}]}'))
        (refused,) = await asked(url, path)
    assert failed == ("failed", {"message": "The model failed on this question. Try to ask it differently."})
    assert refused[0] == "failed"
    assert refused[1]["message"].startswith("The model is not available")


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 4001])
async def test_invalid_questions(emulator: WiroEmulator, serving: Serving, prompt: str) -> None:
    """Invalid questions are refused before a run."""
    async with serving(emulator) as url, httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/answer", json={"prompt": prompt})
        assert answer.status_code == 422
        other = await client.post(f"{url}/answer", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"})
        assert other.status_code == 422
    assert emulator.ledger.count("Run/*") == 0


async def test_outputs_with_scripts(serving: Serving) -> None:
    """Outputs with scripts are served as plain data."""
    svg = FileOutput("x.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    model = ModelScript("test/svg", lambda given: Script(played(0.1, []), (svg,)))
    with WiroEmulator(models=[model]) as emulator:
        async with serving(emulator, picture="test/svg") as url, httpx.AsyncClient() as client:
            *_, (name, data) = await asked(url, "/picture")
            assert name == "done"
            file = await client.get(url + data["url"])
    assert file.headers["content-type"] == "application/octet-stream"
