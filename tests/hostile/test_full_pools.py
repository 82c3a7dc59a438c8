"""The app's thread pools are full, of callers that wait for the SDK. The SDK has threads of its own."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, File, ResponseFormatError
from wiro_async.audio import read_wav, write_wav

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/model"
Work: TypeAlias = Callable[[], Awaitable[Any]]
Pool: TypeAlias = Callable[[Work], Awaitable[Any]]


async def anyios_pool(work: Work) -> Any:
    """Run something as a plain endpoint of FastAPI does."""

    async def run() -> Any:
        return await work()

    return await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(run))


async def asyncios_pool(work: Work) -> Any:
    """Run something from a thread of the loop's default executor, of two threads."""
    loop = asyncio.get_running_loop()

    async def run() -> Any:
        return await work()

    return await loop.run_in_executor(None, lambda: asyncio.run_coroutine_threadsafe(run(), loop).result())


@pytest_asyncio.fixture(autouse=True)
async def small_pools() -> AsyncIterator[None]:
    """Few callers fill the pools."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = 2
    with ThreadPoolExecutor(2) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        yield


@pytest.fixture(params=[anyios_pool, asyncios_pool])
def pool(request: pytest.FixtureRequest) -> Pool:
    """Runs work in a pool of the app, whose thread waits for it."""
    used: Pool = request.param
    return used


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file to upload."""
    path = tmp_path / "picture.png"
    path.write_bytes(bytes(100))
    return path


async def fill(pool: Pool, work: Work, times: int = 40) -> list[Any]:
    """Run something many times at once in a pool that has room for two."""
    found = list[Any]()

    async def one() -> None:
        found.append(await pool(work))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(times):
                group.start_soon(one)
    return found


async def uploads_and_saves(wiro: AsyncWiro, picture: Path) -> None:
    """Send a path, an open file and bytes, and save the output in two ways."""
    with picture.open("rb") as opened:
        result = await wiro.run(MODEL, {"path": picture, "open": opened, "bytes": File(b"abc", "b.bin")})
    await result.output.save(picture.parent / "saved" / "x.png")
    await wiro.download(result.output, picture.parent)


async def answers(wiro: AsyncWiro, _: Path) -> None:
    """Ask for the form of a schema, which needs a library."""
    with pytest.raises(ResponseFormatError):
        await wiro.run(MODEL, {"prompt": "x"}, response_model={"type": "object"})


async def batches(wiro: AsyncWiro, picture: Path) -> None:
    """Run a batch with all that uses files."""
    folder = picture.parent / f"batch{id(asyncio.current_task())}"
    inputs = [{"path": picture, "number": number} for number in range(3)]
    async with wiro.batch(MODEL, inputs, save_to=folder, journal=folder / "j.sqlite", progress=True) as batch:
        items = await batch.results()
    assert [item.error or item.save_error for item in items] == [None] * 3


async def audio(_: AsyncWiro, picture: Path) -> None:
    """Write and read audio, without a session."""
    path = picture.parent / f"{id(asyncio.current_task())}.wav"
    await write_wav(path, bytes(48_000))
    assert sum([len(piece) async for piece in read_wav(path)]) == 48_000


@pytest.mark.parametrize("use", [uploads_and_saves, answers, batches, audio])
async def test_callers_in_a_full_pool_are_served(raw: RawWiro, pool: Pool, picture: Path, use: Any) -> None:
    """By a session that is opened in the full pool, with a host name that must be looked up."""
    options: dict[str, Any] = {
        **raw.options(),
        "base_url": raw.url.replace("127.0.0.1", "localhost"),
        "updates": "polling",
    }
    wiro = AsyncWiro(**options)
    await fill(pool, lambda: use(wiro, picture), times=10)
    await wiro.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wiro_async")]


async def test_closing_under_a_full_pool(raw: RawWiro, pool: Pool, picture: Path) -> None:
    """Each caller opens and closes a session of its own."""

    async def work() -> None:
        async with AsyncWiro(**raw.options(), updates="polling") as wiro:
            await wiro.run(MODEL, {"path": picture})

    await fill(pool, work, times=10)


def ask_for_tools(raw: RawWiro, count: int) -> None:
    """Let the first run ask for many calls of a tool, and the second one be the end."""

    def segment(number: int) -> dict[str, str]:
        ids = {"id": f"fc-{number}", "call_id": f"call-{number}", "status": "completed"}
        return {"type": "function_call", "name": "wait", "arguments": "{}", **ids}

    asking = {"segments": [segment(number) for number in range(count)], "finishreason": "tool_calls"}
    turns = iter([asking, {"segments": [{"type": "answer", "text": "done"}], "finishreason": "stop"}])

    async def run(peer: Peer) -> None:
        made = raw.take_run("owner/llm", peer.sent)
        output = {
            "contenttype": "raw",
            "content": {"prompt": "", "raw": "", "thinking": [], "answer": [], **next(turns)},
        }
        raw.rows[made["taskid"]]["outputs"] = [output]
        await peer.respond_json(made)

    raw.routes["Run"] = run


async def test_tools_leave_the_pools_of_the_app_alone(raw: RawWiro, raw_wiro: AsyncWiro) -> None:
    """Many plain functions that a model calls take their time in threads of the SDK."""
    count, free = 45, threading.Event()
    ask_for_tools(raw, count)

    def wait() -> str:
        """Take long."""
        free.wait(10)
        return threading.current_thread().name

    chat = raw_wiro.conversation("owner/llm", tools=[wait], run_tools=True)
    sending = asyncio.create_task(chat.send("x"))
    with anyio.fail_after(8):
        while sum(thread.name == "wiro_async tools" for thread in threading.enumerate()) < count:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        with anyio.fail_after(1):
            await anyio.to_thread.run_sync(int)
            await asyncio.get_running_loop().run_in_executor(None, int)
        free.set()
        turn = await sending
    assert [output.output for output in turn.tool_outputs] == ["wiro_async tools"] * count
    assert turn.text == "done"


INTERRUPTED = """
import asyncio, os, sys, threading
from pathlib import Path
from wiro_async import AsyncWiro

def wait() -> None:
    threading.Event().wait()

async def main():
    async with AsyncWiro("key", base_url=sys.argv[1], updates="polling") as wiro:
        os.mkfifo(sys.argv[2])
        print("begun", flush=True)
        if sys.argv[3] == "a pipe":
            await wiro.run("owner/model", {"file": Path(sys.argv[2])})
        else:
            await wiro.conversation("owner/llm", tools=[wait], run_tools=True).send("x")

asyncio.new_event_loop().run_until_complete(main())
"""


@pytest.mark.parametrize("stuck", ["a pipe", "a tool"])
async def test_one_interrupt_ends_the_process(raw: RawWiro, tmp_path: Path, stuck: str) -> None:
    """Under `run_until_complete`, which cancels nothing, while a thread is stuck."""
    ask_for_tools(raw, 1)
    if stuck == "a pipe":
        del raw.routes["Run"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        INTERRUPTED,
        raw.url,
        str(tmp_path / "pipe"),
        stuck,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    await asyncio.sleep(1)
    process.send_signal(signal.SIGINT)
    try:
        with anyio.fail_after(3):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert b"KeyboardInterrupt" in errors
