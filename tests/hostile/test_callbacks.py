"""Callbacks from the service are never lost, and callbacks from strangers cost next to nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wiro_async import AsyncWiro, TaskInfo, TaskResult, Tuning
from wiro_async.webhooks import WebhookReceiver

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

BASE = "https://my.app/wiro"
SECRET = "a secret that is long enough"
QUICK = Tuning(socket_close=0.02, callback_confirm=0.02, poll_confirm=0.02)
LARGE = b" " * 100_000


async def call(receiver: WebhookReceiver, url: str, body: bytes = b"done") -> int:
    """Call a URL of the receiver, without a network."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        return (await client.post(url, content=body)).status_code


async def settled(receiver: WebhookReceiver) -> None:
    """Wait until nothing is being confirmed."""
    while receiver.statistics().pending:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def named(*keys: str) -> bytes:
    """Write a body that names tasks."""
    return json.dumps([{"taskid": key} if key.isdigit() else {"tasktoken": key} for key in keys]).encode()


def answers_late(raw: RawWiro, receiver: WebhookReceiver, body: bytes) -> None:
    """Let each run end, and call its URL, before its answer."""

    async def run(peer: Peer) -> None:
        answer = raw.take_run("owner/model", peer.sent)
        assert await call(receiver, peer.sent["callbackUrl"], body) == 200
        await settled(receiver)
        await peer.respond_json(answer)

    raw.routes["Run"] = run


@pytest.mark.parametrize("body", [b"", b"done", named("1000"), named("token-1000"), LARGE + b"done", LARGE + b"1000"])
async def test_a_call_before_the_answer_to_the_run(raw: RawWiro, raw_wiro: AsyncWiro, body: bytes) -> None:
    """It wakes the run as soon as that has its answer, whatever the body says."""
    receiver = WebhookReceiver(raw_wiro)
    answers_late(raw, receiver, body)
    async with asyncio.timeout(2):
        result = await raw_wiro.run("owner/model", {"prompt": "x"}, callback_url=receiver.url_for(BASE))
    assert (result.info.id, len(raw.runs)) == ("1000", 1)
    assert raw.requests.count("Task/Detail") <= 2
    assert "socket" not in raw.requests


async def test_on_end_hears_of_it(raw: RawWiro, raw_wiro: AsyncWiro) -> None:
    """Once for each run, though nobody waits for them."""
    ended: list[str] = []
    receiver = WebhookReceiver(raw_wiro, on_end=lambda task: ended.append(task.id))
    WebhookReceiver(raw_wiro.with_options(), on_end=lambda task: ended.append(task.id))
    answers_late(raw, receiver, b"done")
    view = raw_wiro.with_options(callback_url=receiver.at(BASE))
    for _ in range(3):
        await view.submit("owner/model", {"prompt": "x"})
    async with asyncio.timeout(2):
        while len(ended) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert sorted(ended) == ["1000", "1001", "1002"]


async def test_a_call_about_a_run_whose_answer_is_lost(raw: RawWiro, raw_wiro: AsyncWiro) -> None:
    """It wakes the run as soon as that is found."""
    receiver = WebhookReceiver(raw_wiro)

    async def lost(peer: Peer) -> None:
        answer = raw.take_run("owner/model", peer.sent)
        url = peer.sent["callbackUrl"]
        raw.rows[answer["taskid"]].update(createtime="4102444800", callbackurl=url)
        assert await call(receiver, url) == 200
        peer.reset()

    raw.routes["Run"] = lost
    async with asyncio.timeout(3):
        result = await raw_wiro.run("owner/model", {"prompt": "x"}, callback_url=receiver.url_for(BASE))
    assert (result.info.id, len(raw.runs)) == ("1000", 1)


@pytest.mark.parametrize("key", ["1000", "token-1000"])
async def test_a_call_before_anybody_waits(raw: RawWiro, raw_wiro: AsyncWiro, key: str) -> None:
    """The task is not read then, but as soon as somebody waits for it."""
    receiver = WebhookReceiver(raw_wiro)
    raw.make_task("owner/model", {})
    assert await call(receiver, receiver.url_for(BASE), named(key)) == 200
    assert (raw.requests, receiver.statistics().unexpected) == ([], 1)
    task = raw_wiro.task(task_id=key) if key.isdigit() else raw_wiro.task(key)
    async with asyncio.timeout(2):
        assert (await receiver.wait(task)).info.id == "1000"
    assert raw.requests == ["Task/Detail"]


def unlisted(raw: RawWiro) -> dict[str, Any]:
    """A list without tasks."""
    return {"result": True, "errors": [], "tasklist": []}


def unknown(raw: RawWiro) -> dict[str, Any]:
    """A refusal."""
    return {"result": False, "errors": [{"code": 1, "message": "task-not-exist"}]}


def of_somebody_else(raw: RawWiro) -> dict[str, Any]:
    """A task that has another callback URL."""
    row = raw.make_task("owner/model", {}, callbackurl="https://their.app/wiro/x.y")
    return {"result": True, "errors": [], "tasklist": [row]}


@pytest.mark.parametrize("answer", [unlisted, unknown, of_somebody_else])
@pytest.mark.parametrize("has_on_end", [False, True])
@pytest.mark.parametrize("in_one_body", [1, 15])
@pytest.mark.parametrize("form", ["{}", "made-up-{}"])
async def test_made_up_ids(raw: RawWiro, answer: Any, has_on_end: bool, in_one_body: int, form: str) -> None:
    """Three thousand behind one good URL draw few reads, or none, and the URL still works for its own run."""

    async def detail(peer: Peer) -> None:
        asked = str(peer.sent.get("taskid") or peer.sent.get("tasktoken"))
        if asked in ("1", "token-1"):
            await raw.answer(peer)
        else:
            await peer.respond_json(answer(raw))

    raw.ids = map(str, range(1, 10_000))
    raw.routes["Task/Detail"] = detail
    async with AsyncWiro(**raw.options(), tuning=QUICK) as wiro:
        receiver = WebhookReceiver(wiro, secret=SECRET, on_end=(lambda task: None) if has_on_end else None)
        task = await wiro.submit("owner/model", {"prompt": "x"}, callback_url=receiver.url_for(BASE))
        url = str(raw.runs[0][1]["callbackUrl"])
        leaked = url.partition("?")[0]
        ids = [form.format(number) for number in range(100_000, 103_000)]
        for first in range(0, 3000, in_one_body):
            assert await call(receiver, leaked, named(*ids[first : first + in_one_body])) == 200
        await settled(receiver)
        reads = raw.requests.count("Task/Detail")
        assert reads == 0 if not has_on_end else 0 < reads <= 40
        async with asyncio.timeout(2):
            waiting = asyncio.create_task(receiver.wait(task))
            assert await call(receiver, url) == 200
            assert (await waiting).info.id == "1"


async def test_the_number_of_queued_strangers_is_bounded(raw: RawWiro) -> None:
    """What is beyond gets 503, but for runs of the session."""
    hold = asyncio.Event()

    async def detail(peer: Peer) -> None:
        await hold.wait()
        await raw.answer(peer)

    tuning = Tuning(socket_close=0.02, callback_confirm=0.02, callback_max_foreign=1, callback_max_queued=5)
    async with AsyncWiro(**raw.options(), tuning=tuning) as wiro:
        receiver = WebhookReceiver(wiro, on_end=lambda task: None)
        await wiro.submit("owner/model", {}, callback_url=receiver.url_for(BASE))
        raw.routes["Task/Detail"] = detail
        given = [await call(receiver, receiver.url_for(BASE), named(str(5000 + number))) for number in range(8)]
        assert given == [200] * 6 + [503] * 2
        assert await call(receiver, raw.runs[0][1]["callbackUrl"]) == 200
        assert (receiver.statistics().dropped, receiver.statistics().pending) == (2, 7)
        hold.set()
        await settled(receiver)
        assert receiver.statistics().confirmed == 1
        assert raw.requests.count("Task/Detail") <= 6 * tuning.callback_unlisted + 1


@pytest.mark.parametrize("body", [b"done", None])
@pytest.mark.parametrize("limit", [1, 10, 1000])
async def test_many_runs_that_end_at_once(raw: RawWiro, body: bytes | None, limit: int) -> None:
    """Each call is handled, one read for each run, though few are confirmed at a time."""
    tuning = Tuning(socket_close=0.02, callback_max_pending=limit)
    count = 300
    async with AsyncWiro(**raw.options(), tuning=tuning) as wiro:
        ended: list[str] = []
        receiver = WebhookReceiver(wiro, on_end=lambda task: ended.append(task.id))
        view = wiro.with_options(callback_url=receiver.at(BASE))
        tasks = await asyncio.gather(*(view.submit("owner/model", {"n": number}) for number in range(count)))
        waiting = [asyncio.create_task(receiver.wait(task)) for task in tasks]
        urls = [str(given["callbackUrl"]) for _, given in raw.runs]
        if body is None:  # a URL without the id of its run, and a body that names the run
            urls = [url.partition("?")[0] for url in urls]
        bodies = [body or named(str(1000 + number)) for number in range(count)]
        async with asyncio.timeout(15):
            assert await asyncio.gather(*map(call, [receiver] * count, urls, bodies)) == [200] * count
            results = await asyncio.gather(*waiting)
        assert len({result.info.id for result in results}) == count
        assert (receiver.statistics().confirmed, receiver.statistics().dropped) == (count, 0)
        assert (raw.requests.count("Task/Detail"), len(ended)) == (count, count)
        assert "socket" not in raw.requests


async def test_a_slow_on_end(raw: RawWiro) -> None:
    """It holds up no other confirmation."""
    release = asyncio.Event()

    async def slow(task: TaskInfo) -> None:
        await release.wait()

    async with AsyncWiro(**raw.options(), tuning=Tuning(socket_close=0.02, callback_max_pending=1)) as wiro:
        receiver = WebhookReceiver(wiro, on_end=slow)
        view = wiro.with_options(callback_url=receiver.at(BASE))
        tasks = [await view.submit("owner/model", {}) for _ in range(3)]
        waiting = [asyncio.create_task(receiver.wait(task)) for task in tasks]
        for _, given in raw.runs:
            assert await call(receiver, given["callbackUrl"]) == 200
        async with asyncio.timeout(2):
            results: list[TaskResult] = await asyncio.gather(*waiting)
        release.set()
    assert len(results) == 3
