"""Sockets that are closed soon and often: news goes on, and a socket without news is not opened in a tight loop."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from wiro_async import AsyncWiro, TextDelta, Tuning

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

MODEL = "owner/writer"


def now() -> float:
    """The clock of the loop, which stands still while a busy machine lets nothing run."""
    return asyncio.get_running_loop().time()


@attrs.define
class Flapping:
    """A service whose tasks write for some seconds, and whose sockets live as long as a test says.

    Attributes:
        hang_up: what decides about a socket: called with the tokens on it and its age, each time before a delta.
        opened: when each socket was opened.
    """

    raw: RawWiro
    hang_up: Callable[[list[str], float], bool]
    seconds: float = 2.0
    opened: list[float] = attrs.field(factory=list)
    began: dict[str, float] = attrs.field(factory=dict)

    def serve(self) -> None:
        """Take over the routes."""
        self.raw.routes |= {"Run": self.run, "Task/Detail": self.detail, "socket": self.socket}

    async def run(self, peer: Peer) -> None:
        """Take a run."""
        self.raw.runs.append((MODEL, peer.sent))
        row = self.raw.make_task(MODEL, {}, status="task_output", pexit="", outputs=[])
        self.began[row["id"]] = now()
        ids = {"taskid": row["id"], "socketaccesstoken": row["socketaccesstoken"]}
        await peer.respond_json({"result": True, "errors": [], **ids})

    def words(self, task_id: str) -> str:
        """Return what a task has written: a word every 50 ms."""
        passed = min(self.seconds, now() - self.began[task_id])
        return "".join(f"{number} " for number in range(int(passed / 0.05)))

    async def detail(self, peer: Peer) -> None:
        """Show the text at the end only."""
        for row in self.raw.rows.values():
            if now() - self.began[row["id"]] > self.seconds:
                content = {"answer": [self.words(row["id"])]}
                row.update(status="task_postprocess_end", pexit="0", outputs=[{"content": content}])
        await self.raw.answer(peer)

    async def socket(self, peer: Peer) -> None:
        """Send the deltas of all tasks that are registered, until it hangs up."""
        began = now()
        self.opened.append(began)
        await peer.accept_websocket()
        tokens, ids = list[str](), list[str]()

        async def register() -> None:
            while True:
                _, data = await peer.read_frame()
                tokens.append(json.loads(data)["tasktoken"])
                ids.append(tokens[-1].removeprefix("token-"))

        registering = asyncio.create_task(register())
        try:
            while True:
                await asyncio.sleep(0.01)
                if self.hang_up(tokens, now() - began):
                    peer.reset()
                    return
                for task_id in ids:
                    message = {"type": "answer", "answer": [self.words(task_id)]}
                    await peer.send_event({"type": "task_output", "id": task_id, "message": message})
                    if now() - self.began[task_id] > self.seconds:
                        await peer.send_event({"type": "task_postprocess_end", "id": task_id, "message": []})
        finally:
            registering.cancel()
            await asyncio.gather(registering, return_exceptions=True)


async def read(wiro: AsyncWiro, number: int) -> tuple[str, float, list[float]]:
    """Read a stream: its text, and the gaps between its deltas."""
    text, at, gaps = "", now(), list[float]()
    async with wiro.stream(MODEL, {"n": number}) as stream:
        async for delta in stream:
            assert isinstance(delta, TextDelta)
            text += delta.text
            gaps.append(now() - at)
            at = now()
        result = await stream.result()
    assert result.text == text
    return text, max(gaps), gaps


@pytest.mark.parametrize("tasks", [1, 40])
@pytest.mark.parametrize("life", [0.03, 0.1, 0.4])
async def test_gaps_under_flapping_are_short(raw: RawWiro, tasks: int, life: float) -> None:
    """Each socket lives a moment and brings news, so the next one is opened soon."""
    service = Flapping(raw, lambda tokens, age: age > life)
    service.serve()
    async with AsyncWiro(**raw.options()) as wiro:
        read_all = await asyncio.gather(*(read(wiro, number) for number in range(tasks)))
    assert max(longest for _, longest, _ in read_all) < 1.5  # 0.1 to 0.5 on a quiet machine
    assert len(raw.runs) == tasks
    gaps = [after - before for before, after in zip(service.opened, service.opened[1:], strict=False)]
    assert len(service.opened) <= 2 * (service.seconds + 1.5) / 0.125
    assert tasks != 1 or min(gaps) > 0.1


@pytest.mark.parametrize("is_accepted", [True, False], ids=["closed at once", "refused"])
async def test_a_socket_without_news_backs_off(raw: RawWiro, is_accepted: bool) -> None:
    """It costs no more than a few connections, and polls find the end."""
    service = Flapping(raw, lambda tokens, age: True, seconds=1.5)
    service.serve()
    if not is_accepted:

        async def refuse(peer: Peer) -> None:
            service.opened.append(now())
            await peer.respond(status="503 Service Unavailable")

        raw.routes["socket"] = refuse
    async with AsyncWiro(**raw.options()) as wiro:
        result = await wiro.run(MODEL, {"n": 0})
    assert result.text
    assert len(service.opened) <= 7


async def test_repetitions_are_no_news(raw: RawWiro) -> None:
    """A service that repeats what has happened on each socket, and closes it, is not asked again at once."""
    service = Flapping(raw, lambda tokens, age: False, seconds=2.5)
    service.serve()

    async def repeat(peer: Peer) -> None:
        service.opened.append(now())
        await peer.accept_websocket()
        await peer.read_frame()
        for status in ("task_accept", "task_start"):
            await peer.send_event({"type": status, "id": "1000", "message": None})
        await peer.send_event({"type": "task_output", "id": "1000", "message": {"answer": ["Hello"]}})
        await asyncio.sleep(0.02)
        peer.reset()

    raw.routes["socket"] = repeat
    async with AsyncWiro(**raw.options()) as wiro:
        assert (await wiro.run(MODEL, {"n": 0})).succeeded
    assert len(service.opened) <= 10


@pytest.mark.parametrize("tasks, guilty", [(2, [1]), (12, [1]), (12, [1, 2, 8]), (40, [1])])
async def test_tasks_that_close_their_socket_are_alone_soon(raw: RawWiro, tasks: int, guilty: list[int]) -> None:
    """The others are read without long gaps, from sockets that stay open."""
    poison = {f"token-{1000 + number}" for number in guilty}
    lives = defaultdict[bool, list[float]](list)

    def hang_up(tokens: list[str], age: float) -> bool:
        is_poisoned = not poison.isdisjoint(tokens)
        lives[is_poisoned].append(age)
        return is_poisoned

    service = Flapping(raw, hang_up, seconds=4.0)
    service.serve()
    async with AsyncWiro(**raw.options(), tuning=Tuning(socket_steady=1.0)) as wiro:
        read_all = await asyncio.gather(*(read(wiro, number) for number in range(tasks)))
    gaps = sorted(longest for _, longest, _ in read_all)
    assert gaps[-1 - len(guilty)] < 2.0  # 0.3 to 0.8 on a quiet machine
    assert max(lives[False]) > 1.5
    assert len(service.opened) < 40 + 20 * (len(guilty) - 1)


async def test_a_service_that_closes_all_sockets_at_once_gets_few(raw: RawWiro) -> None:
    """However many tasks there are, they are divided twice, and then wait longer and longer."""
    service = Flapping(raw, lambda tokens, age: bool(tokens), seconds=2.5)
    service.serve()
    async with AsyncWiro(**raw.options(), tasks_per_socket=1000) as wiro:
        results = await asyncio.gather(*(wiro.run(MODEL, {"n": number}) for number in range(80)))
    assert all(result.text for result in results)
    assert len(service.opened) <= 16 * 7


async def test_a_service_that_flaps_as_a_whole_gets_two_sockets(raw: RawWiro) -> None:
    """Dividing the tasks does not help then, so it is not done again."""
    carried = list[int]()

    def hang_up(tokens: list[str], age: float) -> bool:
        carried.append(len(tokens))
        return age > 0.1

    service = Flapping(raw, hang_up)
    service.serve()
    async with AsyncWiro(**raw.options()) as wiro:
        reading = asyncio.gather(*(read(wiro, number) for number in range(16)))
        await asyncio.sleep(1.8)
        assert wiro.statistics().sockets <= 2
        await reading
    assert max(carried[len(carried) // 2 :]) >= 8
