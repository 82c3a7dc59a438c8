"""The example's web app as a client sees it: events, errors, and that nobody pays for what nobody sees."""

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

Told = tuple[str, dict[str, Any]]


async def events(response: httpx.Response) -> AsyncIterator[Told]:
    """The server-sent events of an answer, as (name, data)."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def asked(address: str, path: str, prompt: str = "tides") -> list[Told]:
    """All events of one question."""
    async with httpx.AsyncClient() as client, client.stream("POST", address + path, json={"prompt": prompt}) as told:
        assert told.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(told)]


def one_task(emulator: WiroEmulator) -> str:
    """The status of the only task that was made."""
    (task,) = emulator.ledger.tasks.values()
    return task.status


async def test_an_answer_in_pieces(unhurried: WiroEmulator, wiro: AsyncWiro, serving: Serving) -> None:
    """Thoughts and answer apart; the pieces joined are the model's own text."""
    async with serving(unhurried) as address:
        told = await asked(address, "/answer", "  Tides <b>&</b>  ")
    deltas = [data for name, data in told if name == "delta"]
    result = await wiro.run("emulator/writer", {"prompt": "Tides <b>&</b>"})
    assert len(deltas) > 3
    assert "".join(data["text"] for data in deltas if data["kind"] == "answer") == result.text
    assert "".join(data["text"] for data in deltas if data["kind"] == "thinking") == result.thinking
    assert told[-1][0] == "done"


async def test_progress_and_then_the_picture(unhurried: WiroEmulator, serving: Serving) -> None:
    """A bar that only grows; in the end a picture of the app's own address."""
    async with serving(unhurried) as address:
        told = await asked(address, "/picture")
        fractions = [data["fraction"] for name, data in told if name == "progress"]
        assert fractions == sorted(fractions)
        assert len(fractions) > 2
        name, data = told[-1]
        assert name == "done"
        async with httpx.AsyncClient() as client:
            picture = await client.get(address + data["url"])
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
async def test_who_leaves_stops_the_task(
    serving: Serving, until: Until, path: str, model: str, seen: str | None
) -> None:
    """In the middle, before the first word, and while it still waits for its turn."""
    with WiroEmulator(speed=0.2) as emulator:
        async with serving(emulator, model, model) as address, httpx.AsyncClient() as client:
            async with client.stream("POST", address + path, json={"prompt": "tides"}) as told:
                told_events = events(told)
                while seen and (await anext(told_events))[0] != seen:
                    pass
                await until(lambda: emulator.ledger.submissions)
            await until(lambda: one_task(emulator) == "task_cancel")
        assert emulator.ledger.count("Run/*") == 1


@pytest.mark.parametrize("path", ["/answer", "/picture"])
async def test_who_leaves_during_the_submit_stops_the_task(
    emulator: WiroEmulator, serving: Serving, until: Until, path: str
) -> None:
    """Nobody has told the app yet which task it is."""
    emulator.faults.http("Run/*", DelayAnswer(1))
    async with serving(emulator, "emulator/stuck", "emulator/stuck") as address, httpx.AsyncClient() as client:
        async with client.stream("POST", address + path, json={"prompt": "tides"}):
            await until(lambda: emulator.ledger.submissions)
        await until(lambda: one_task(emulator) == "task_cancel")


async def test_who_stops_reading_and_leaves_stops_the_task(serving: Serving, until: Until) -> None:
    """The app stands in the middle of an event that nobody takes."""
    pages = [Step("task_output", {"type": "answer", "raw": "x" * 2_000_000 * n}, after=0.05) for n in range(1, 9)]
    start = [Step("task_accept"), Step("task_start")]
    model = ModelScript("test/verbose", lambda given: Script((*start, *pages)))
    with WiroEmulator(models=[model]) as emulator:
        async with serving(emulator, "test/verbose") as address:
            host, port = address.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port), limit=1024)
            body = b'{"prompt": "tides"}'
            head = (
                f"POST /answer HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)
            await until(lambda: emulator.ledger.submissions)
            await asyncio.sleep(1)
            gc.disable()  # nothing may wait for it
            try:
                writer.transport.abort()
                await until(lambda: one_task(emulator) == "task_cancel")
            finally:
                gc.enable()
            gc.collect()
            await asyncio.sleep(0.1)


async def test_a_server_that_is_stopped_stops_its_tasks(serving: Serving, until: Until) -> None:
    """Visitors in the middle of something get three seconds."""
    with WiroEmulator(speed=0.05) as emulator:
        async with serving(emulator) as address:
            asking = asyncio.create_task(asked(address, "/answer"))
            await until(lambda: emulator.ledger.submissions)
            await asyncio.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            await asking
        assert one_task(emulator) == "task_cancel"


@pytest.mark.parametrize("path", ["/answer", "/picture"])
async def test_what_visitors_are_told(emulator: WiroEmulator, serving: Serving, path: str) -> None:
    """A model that fails, a service that refuses: one friendly sentence, nothing of the log or the keys."""
    async with serving(emulator, "emulator/failing", "emulator/failing") as address:
        *_, failed = await asked(address, path)
        emulator.faults.http("Run/*", Respond(401, '{"result":false,"errors":[{"code":99,"message":"no"}]}'))
        (refused,) = await asked(address, path)
    assert failed == ("failed", {"message": "The model failed on this question. Try to ask it differently."})
    assert refused[0] == "failed"
    assert refused[1]["message"].startswith("The model is not available")


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 4001])
async def test_questions_that_are_none(emulator: WiroEmulator, serving: Serving, prompt: str) -> None:
    """Refused before a run is billed."""
    async with serving(emulator) as address, httpx.AsyncClient() as client:
        answer = await client.post(f"{address}/answer", json={"prompt": prompt})
        assert answer.status_code == 422
        other = await client.post(
            f"{address}/answer", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"}
        )
        assert other.status_code == 422
    assert emulator.ledger.count("Run/*") == 0


async def test_outputs_that_could_bring_scripts(serving: Serving) -> None:
    """Whatever a model makes, it is no document of the app's own address."""
    svg = FileOutput("x.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    model = ModelScript("test/svg", lambda given: Script(played(0.1, []), (svg,)))
    with WiroEmulator(models=[model]) as emulator:
        async with serving(emulator, picture="test/svg") as address, httpx.AsyncClient() as client:
            *_, (name, data) = await asked(address, "/picture")
            assert name == "done"
            file = await client.get(address + data["url"])
    assert file.headers["content-type"] == "application/octet-stream"
