"""A session that nobody closes warns once, and harms nobody: no task, no socket and no traceback is left of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

PROGRAM = """
import asyncio, gc, sys
from wiro_async import AsyncWiro, Tuning

OPTIONS = dict(
    api_key="key", base_url=sys.argv[1], socket_url=sys.argv[2], tuning=Tuning(stop_wait=0.3, socket_close=0.1)
)

def session(**options):
    return AsyncWiro(**OPTIONS | options)

async def all_over():
    for _ in range(300):
        gc.collect()
        if len(asyncio.all_tasks()) == 1:
            return
        await asyncio.sleep(0.01)
    raise SystemExit(f"left: {asyncio.all_tasks()}")

"""


@attrs.frozen
class Case:
    """A program that drops sessions.

    Attributes:
        warnings: how many lines it writes to standard error, each of them a `ResourceWarning`.
    """

    name: str
    code: str
    warnings: int = 1


CASES = [
    Case(
        "after a read, many times",
        """
async def main():
    for _ in range(20):
        w = session()
        await w.tasks.get("1000")
        del w
        gc.collect()
    await all_over()
asyncio.run(main())
""",
        20,
    ),
    Case(
        "at the end of the loop",
        """
async def main():
    w = session()
    await w.tasks.get("1000")
    del w
asyncio.run(main())
""",
    ),
    Case(
        "while a run waits, whose caller is cancelled",
        """
async def main():
    running = asyncio.create_task(session().run("owner/stuck"))
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.wait([running])
    del running
    await all_over()
asyncio.run(main())
""",
    ),
    Case(
        "while a run waits, whose task is dropped, at the end of the loop",
        """
async def main():
    asyncio.create_task(session().run("owner/stuck"))
    await asyncio.sleep(0.3)
    gc.collect()
    await asyncio.sleep(0.3)
asyncio.run(main())
""",
        0,
    ),
    Case(
        "while a socket is open",
        """
async def main():
    events = (await session(updates="websocket").submit("owner/stuck")).events()
    async for _ in events:
        break
    await asyncio.sleep(0.3)
    del events
    await all_over()
asyncio.run(main())
""",
    ),
    Case(
        "with a batch and a journal",
        """
async def main():
    w = session()
    batch = w.batch("owner/stuck", [{}] * 9, concurrency=3, journal=sys.argv[3])
    await batch.__aenter__()
    await asyncio.sleep(0.3)
    del w, batch
    gc.collect()
    await asyncio.sleep(0.1)
asyncio.run(main())
""",
    ),
    Case(
        "with a stream, which warns as well",
        """
async def main():
    stream = session().stream("owner/stuck")
    await stream.__aenter__()
    del stream
    await all_over()
asyncio.run(main())
""",
        3,
    ),
    Case(
        "by its last view",
        """
async def main():
    view = session().with_options(timeout=5)
    await view.tasks.get("1000")
    del view
    await all_over()
asyncio.run(main())
""",
    ),
    Case(
        "while its handle is in use, which goes on",
        """
async def main():
    handle = await session().submit("owner/model")
    gc.collect()
    await asyncio.sleep(0.1)
    result = await handle
    assert await result.output.read()
    del handle, result
    await all_over()
asyncio.run(main())
""",
    ),
    Case(
        "after its loop was closed",
        """
async def main():
    global w
    w = session()
    await (await w.submit("owner/stuck")).events().__anext__()
    await asyncio.sleep(0.3)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
del w
gc.collect()
""",
    ),
    Case(
        "at the end of the interpreter",
        """
async def main():
    global w
    w = session()
    await w.run("owner/model")
asyncio.run(main())
""",
        0,
    ),
    Case(
        "before it was made",
        """
for options in ({"retry": 7}, {"transport": 7}, {"verify": 7}, {"nonsense": 7}):
    try:
        session(**options)
    except Exception:
        gc.collect()
    else:
        raise SystemExit("made")
session()
""",
        0,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_session_is_dropped(raw: RawWiro, tmp_path: Path, case: Case) -> None:
    """With all warnings on, the program writes the session's own, and ends."""
    raw.make_task("owner/model", {})

    async def run(peer: Peer) -> None:
        made = raw.take_run("owner/model", peer.sent)
        if "stuck" in peer.path:
            raw.rows[made["taskid"]].update(status="task_start", pexit="", endtime="0", outputs=[])
        await peer.respond_json(made)

    raw.routes["Run"] = run
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "always", "-c", PROGRAM + case.code),
        *(raw.url, raw.socket_url, str(tmp_path / "journal.sqlite")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with anyio.fail_after(20):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # On a busy machine asyncio reports steps that take long, whoever's they are.
    lines = [line for line in output.decode().splitlines() if not line.startswith("Executing <")]
    assert len(lines) == case.warnings, output.decode()
    assert all("ResourceWarning" in line for line in lines), lines
    assert process.returncode == 0
