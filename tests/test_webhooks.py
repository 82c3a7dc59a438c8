"""`WebhookReceiver`: callbacks that end waits, and callbacks that change nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from wiro_async import (
    AsyncWiro,
    ConfigurationError,
    TaskFailedError,
    TaskInfo,
    TaskTimeoutError,
    Tuning,
    WebhookVerificationError,
)
from wiro_async._protocol.submission import callback_urls as webhook
from wiro_async.testing import Respond, WiroEmulator
from wiro_async.webhooks import WebhookReceiver, WebhookStatistics, _asgi

if TYPE_CHECKING:
    from tests.conftest import Until

QUICK = {"seconds": 5, "events": 9}
BASE = "https://my.app/wiro"
SECRET = "a secret that is long enough"


@pytest.fixture
def base_timing(base_timing: Tuning) -> Tuning:
    """Only a callback can end a wait in time. Callbacks are confirmed quickly."""
    return attrs.evolve(base_timing, poll_silence=1000.0, poll_max_silence=1000.0, callback_confirm=0.02)


@pytest.fixture(autouse=True)
def slow_polls(emulator: WiroEmulator, short_timing: Tuning) -> None:
    """Every session of these tests has that timing."""


@pytest_asyncio.fixture
async def receiver(wiro: AsyncWiro) -> WebhookReceiver:
    """A receiver of the session."""
    return WebhookReceiver(wiro, secret=SECRET)


@asynccontextmanager
async def served(app: Any) -> AsyncGenerator[str]:
    """Serve an app in which a receiver is mounted, and yield the receiver's URL."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/hooks/wiro"
    finally:
        server.should_exit = True
        await serving


@pytest_asyncio.fixture
async def mounted(receiver: WebhookReceiver) -> AsyncIterator[str]:
    """The URL of the receiver in a Starlette app."""
    async with served(Starlette(routes=[Mount("/hooks/wiro", receiver)])) as url:
        yield url


async def call(receiver: WebhookReceiver, url: str, body: bytes = b"", method: str = "POST", **headers: str) -> int:
    """Send a request to a URL of the receiver, without a network."""
    transport = httpx.ASGITransport(receiver)
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.request(method, url, content=body, headers=headers)).status_code


def about(task: Any) -> bytes:
    """Return a body as Wiro presumably sends it."""
    return json.dumps({"tasklist": [{"id": task.id, "socketaccesstoken": task.token}]}).encode()


def details(emulator: WiroEmulator) -> int:
    """Return the number of Task/Detail requests."""
    return emulator.ledger.count("Task/Detail")


async def confirmed(receiver: WebhookReceiver, until: Until) -> WebhookStatistics:
    """Wait until nothing is being confirmed, and return the statistics."""
    await until(lambda: not receiver.statistics().pending)
    return receiver.statistics()


async def test_a_callback_ends_the_wait_for_a_run(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str
) -> None:
    """One Run, one Detail, no socket, no polling."""
    result = await wiro.run("emulator/sleeper", QUICK, callback_url=receiver.url_for(mounted))
    assert result.succeeded
    assert (emulator.ledger.count("Run/*"), details(emulator), len(emulator.ledger.sockets)) == (1, 1, 0)
    assert receiver.statistics() == WebhookStatistics(received=1, confirmed=1)
    assert "wiro_intent=" in emulator.ledger.callbacks[0].url


def by_fastapi(receiver: WebhookReceiver) -> Any:
    """Mounted next to routes."""
    app = FastAPI()
    app.mount("/hooks/wiro", receiver)
    return app


def by_hand(receiver: WebhookReceiver) -> Any:
    """Dispatched by hand, as in `asgi.py` next to Django, which cannot mount apps."""

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith("/hooks/wiro/"):
            await receiver(scope, receive, send)

    return dispatch


def with_a_trailing_slash(receiver: WebhookReceiver) -> Any:
    """Mounted as Litestar does it: without the mount's path, and with a trailing slash."""

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "").removeprefix("/hooks/wiro")
        await receiver({**scope, "path": f"{path}/", "root_path": ""}, receive, send)

    return mounted


def alone(receiver: WebhookReceiver) -> Any:
    """The only app of a server."""
    return receiver


@pytest.mark.parametrize("mount", [by_fastapi, by_hand, with_a_trailing_slash, alone])
async def test_it_can_be_mounted_in_any_asgi_app(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mount: Callable[[WebhookReceiver], Any]
) -> None:
    """A callback reaches the receiver in each app."""
    async with served(mount(receiver)) as url:
        assert (await wiro.run("emulator/sleeper", QUICK, callback_url=receiver.url_for(url))).succeeded
    assert receiver.statistics() == WebhookStatistics(received=1, confirmed=1)
    assert not emulator.ledger.sockets


async def test_a_batch_without_sockets(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str
) -> None:
    """Each run gets its own URL from the session's options. Forty runs at once open no socket."""
    view = wiro.with_options(callback_url=receiver.at(mounted))
    results = await view.map("emulator/sleeper", [QUICK] * 40)
    assert all(result.succeeded for result in results)
    assert not emulator.ledger.sockets
    assert details(emulator) <= 80
    assert len({callback.url.split("?")[0] for callback in emulator.ledger.callbacks}) == 40
    assert receiver.statistics().confirmed == 40


async def test_waiting_for_a_handle(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str
) -> None:
    """A wait by handle or by token gets the result, before and after the callback."""
    task = await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for(mounted))
    assert (await receiver.wait(task, timeout=20)).info.id == task.id
    assert (await receiver.wait(str(task.token))).info.id == task.id
    assert not emulator.ledger.sockets


async def test_a_callback_that_arrives_before_the_wait(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str, until: Until
) -> None:
    """The end is remembered, so the wait needs no socket."""
    task = await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for(mounted))
    await until(lambda: receiver.statistics().confirmed == 1)
    assert (await task).succeeded
    assert details(emulator) == 2
    assert not emulator.ledger.sockets


async def test_a_failed_run(wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str) -> None:
    """The wait raises the error of the task."""
    with pytest.raises(TaskFailedError, match="out of memory"):
        await wiro.run("emulator/failing", callback_url=receiver.url_for(mounted))


@pytest.mark.tuning(poll_silence=0.01)
async def test_a_lost_callback(emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver) -> None:
    """Slow polling finds the end."""
    result = await wiro.run("emulator/sleeper", QUICK, callback_url=receiver.url_for("http://127.0.0.1:9"))
    assert result.succeeded
    assert not emulator.ledger.sockets


async def test_waits_time_out(wiro: AsyncWiro, receiver: WebhookReceiver) -> None:
    """A wait for a task that never ends raises after its timeout."""
    task = await wiro.submit("emulator/stuck", callback_url=receiver.url_for(BASE))
    with pytest.raises(TaskTimeoutError):
        await receiver.wait(task, timeout=0.05)


async def test_events_need_a_socket(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str
) -> None:
    """Reading events opens a socket, even while another wait relies on the callback."""
    task = await wiro.submit("emulator/sleeper", {"seconds": 30}, callback_url=receiver.url_for(mounted))
    waiting = asyncio.create_task(receiver.wait(task))
    await asyncio.sleep(0)
    async with task.events() as events:
        kinds = {type(event).__name__ async for event in events}
    assert "TaskFinished" in kinds
    assert (await waiting).succeeded
    assert len(emulator.ledger.sockets) == 1


async def test_only_task_detail_confirms_a_callback(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, until: Until
) -> None:
    """A callback for a running task is checked and then ignored."""
    task = await wiro.submit("emulator/stuck")
    waiting = asyncio.create_task(task.result(timeout=0.5))
    assert await call(receiver, receiver.url_for(BASE), about(task)) == 200
    assert (await confirmed(receiver, until)).unconfirmed == 1
    with pytest.raises(TaskTimeoutError):
        await waiting


async def test_duplicate_callbacks(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, until: Until
) -> None:
    """Later callbacks get a response and cause no request."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    await task
    before = details(emulator)
    url = receiver.url_for(BASE)
    assert [await call(receiver, url, about(task)) for _ in range(3)] == [200] * 3
    await until(lambda: receiver.statistics().confirmed == 1)
    assert await call(receiver, url, about(task)) == 200
    assert receiver.statistics() == WebhookStatistics(received=4, confirmed=1, duplicates=3)
    assert details(emulator) == before + 1


@pytest.mark.parametrize("url", [BASE, f"{BASE}/", f"{BASE}/x.y", f"{BASE}/" + "A" * 32 + "." + "B" * 43])
async def test_forged_urls(emulator: WiroEmulator, receiver: WebhookReceiver, url: str) -> None:
    """The response is 404, and no request is made."""
    assert await call(receiver, url, b"2221") == 404
    assert receiver.statistics() == WebhookStatistics(received=1, forged=1)
    assert not emulator.ledger.calls


@pytest.mark.tuning(poll_silence=0.1)
async def test_a_url_of_another_task(wiro: AsyncWiro, receiver: WebhookReceiver, until: Until) -> None:
    """The URL that is valid for one task cannot report other tasks."""
    mine = await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for("http://127.0.0.1:9/x"))
    await mine.result()
    assert await call(receiver, receiver.url_for(BASE), about(mine)) == 200
    assert await confirmed(receiver, until) == WebhookStatistics(received=1, forged=1)


async def test_ids_of_different_tasks(wiro: AsyncWiro, receiver: WebhookReceiver, until: Until) -> None:
    """A body with the token of one task and the id of another counts as forged."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    body = json.dumps({"taskid": "1", "tasktoken": task.token}).encode()
    assert await call(receiver, receiver.url_for(BASE), body) == 200
    assert (await confirmed(receiver, until)).forged == 1


async def test_expired_urls(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """The response is 410, and no request is made."""
    receiver = WebhookReceiver(wiro, lifetime=-5)
    url = receiver.url_for(BASE)
    assert await call(receiver, url, b"2221") == 410
    assert receiver.statistics() == WebhookStatistics(received=1, expired=1)
    with pytest.raises(WebhookVerificationError, match="expired"):
        receiver.verify(url)
    assert not emulator.ledger.calls


@pytest.mark.tuning(callback_body=1.0)
async def test_large_and_slow_bodies(receiver: WebhookReceiver) -> None:
    """Bodies over a megabyte and bodies that do not arrive in time are refused."""

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500_000

    url = receiver.url_for(BASE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver)) as client:
        assert (await client.post(url, content=unannounced())).status_code == 413
    assert await call(receiver, url, b"x" * (_asgi.MAX_BODY + 1)) == 413
    assert await call(receiver, url, b"x" * _asgi.MAX_BODY) == 200
    status, _ = await exchanged(receiver, url, [{"type": "http.request", "body": b"22", "more_body": True}])
    assert status == 408
    assert receiver.statistics() == WebhookStatistics(received=4, refused=3, unreadable=1)


async def exchanged(
    receiver: WebhookReceiver, url: str, messages: list[dict[str, Any]]
) -> tuple[int | None, list[Any]]:
    """Send ASGI messages to the receiver, then nothing. Return the status and all messages of the response."""
    sent: list[Any] = []

    async def receive() -> Any:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    path = httpx.URL(url).path
    await receiver({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}, receive, send)
    return (sent[0]["status"] if sent else None), sent


async def test_a_client_that_disconnects(receiver: WebhookReceiver) -> None:
    """Half a request is refused without a response."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"22", "more_body": True}]
    messages.append({"type": "http.disconnect"})
    assert await exchanged(receiver, receiver.url_for(BASE), messages) == (None, [])
    assert receiver.statistics() == WebhookStatistics(received=1, refused=1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods(receiver: WebhookReceiver, method: str) -> None:
    """Only POST is a callback."""
    assert await call(receiver, receiver.url_for(BASE), method=method) == 405
    assert receiver.statistics().refused == 1


async def test_other_scopes(receiver: WebhookReceiver) -> None:
    """The receiver acknowledges the server's start and end, and refuses WebSockets."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}, {"type": "websocket.connect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await receiver({"type": "lifespan"}, receive, send)
    await receiver({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_bodies_without_a_task(receiver: WebhookReceiver) -> None:
    """They get a response and are counted."""
    assert await call(receiver, receiver.url_for(BASE), b"thank you for your order") == 200
    assert receiver.statistics() == WebhookStatistics(received=1, unreadable=1)


async def test_the_url_names_the_run(
    wiro: AsyncWiro, emulator: WiroEmulator, receiver: WebhookReceiver, until: Until
) -> None:
    """The body of callbacks is not documented, so the URL identifies the run."""
    task = await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for("http://127.0.0.1:9"))
    waiting = asyncio.create_task(receiver.wait(task))
    await until(lambda: all(one.finished for one in emulator.ledger.tasks.values()))
    assert await call(receiver, emulator.ledger.submissions[0].callback_url, b"done!") == 200
    assert (await waiting).succeeded


async def test_unknown_tasks(wiro: AsyncWiro, until: Until) -> None:
    """A task that Task/Detail does not know is not confirmed."""
    receiver = WebhookReceiver(wiro, on_end=lambda task: None)
    assert await call(receiver, receiver.url_for(BASE), b"99999999") == 200
    assert (await confirmed(receiver, until)).unconfirmed == 1


async def test_a_failed_confirmation(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, until: Until
) -> None:
    """If Task/Detail fails, the callback is not confirmed. A later one may be."""
    task = await wiro.submit("emulator/sleeper", QUICK)
    await task
    emulator.faults.http("Task/Detail", Respond(400, '{"result":false,"errors":[]}'))
    url = receiver.url_for(BASE)
    assert await call(receiver, url, about(task)) == 200
    assert (await confirmed(receiver, until)).unconfirmed == 1
    assert await call(receiver, url, about(task)) == 200
    assert (await confirmed(receiver, until)).confirmed == 1


async def test_detail_that_lags(
    emulator: WiroEmulator, wiro: AsyncWiro, receiver: WebhookReceiver, mounted: str
) -> None:
    """It is read until it shows the end."""
    emulator.faults.detail_lag = 0.1
    result = await wiro.run("emulator/sleeper", QUICK, callback_url=receiver.url_for(mounted))
    assert result.succeeded
    assert details(emulator) > 1


@pytest.mark.tuning(callback_max_pending=1)
async def test_too_many_at_once(wiro: AsyncWiro, receiver: WebhookReceiver, until: Until) -> None:
    """Callbacks beyond the limit wait for their turn."""
    tasks = [await wiro.submit("emulator/stuck") for _ in range(3)]
    body = json.dumps([{"taskid": task.id} for task in tasks]).encode()
    assert await call(receiver, receiver.url_for(BASE), body) == 200
    assert (receiver.statistics().pending, receiver.statistics().dropped) == (3, 0)
    assert (await confirmed(receiver, until)).unconfirmed == 3


@pytest.mark.tuning(max_known_tasks=1, callback_max_done=2)
async def test_the_memory_of_tasks_is_bounded(wiro: AsyncWiro, until: Until) -> None:
    """The oldest task is forgotten, and confirmed again."""
    receiver = WebhookReceiver(wiro, on_end=lambda task: None)
    tasks = [await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for(BASE)) for _ in range(2)]
    for task in tasks:
        assert await call(receiver, unknown_url(receiver, task), b"x") == 200
    assert receiver.statistics().unreadable == 2
    plain = [await wiro.submit("emulator/sleeper", QUICK) for _ in range(2)]
    for task in plain:
        await task.result()
        await call(receiver, receiver.url_for(BASE), about(task))
        await confirmed(receiver, until)
    await call(receiver, receiver.url_for(BASE), about(plain[0]))
    assert (await confirmed(receiver, until)).confirmed == 3


def unknown_url(receiver: WebhookReceiver, task: Any) -> str:
    """Return a URL with an id that the session does not know."""
    return f"{receiver.url_for(BASE)}?wiro_intent={task.id}"


@pytest.mark.parametrize("kind", ["function", "coroutine function", "failing"])
async def test_on_end(wiro: AsyncWiro, until: Until, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """`on_end` is called once with every confirmed task. Its errors are logged."""
    ended: list[str] = []

    async def later(task: TaskInfo) -> None:
        ended.append(task.id)

    def failing(task: TaskInfo) -> None:
        ended.append(task.id)
        raise LookupError("no such row")

    handlers: dict[str, Callable[[TaskInfo], Awaitable[None] | None]]
    handlers = {"function": lambda task: ended.append(task.id), "coroutine function": later, "failing": failing}
    receiver = WebhookReceiver(wiro, on_end=handlers[kind])
    task = await wiro.submit("emulator/sleeper", QUICK)
    await task
    for _ in range(2):
        assert await call(receiver, receiver.url_for(BASE), about(task)) == 200
        await confirmed(receiver, until)
    assert ended == [task.id]
    assert ("on_end failed" in caplog.text) is (kind == "failing")


async def test_one_task_by_id_and_token(wiro: AsyncWiro, until: Until) -> None:
    """A body with the id and the token of one task is one callback."""
    ended: list[str] = []
    receiver = WebhookReceiver(wiro, on_end=lambda task: ended.append(task.id))
    task = await wiro.submit("emulator/sleeper", QUICK)
    await task
    body = json.dumps([{"taskid": task.id}, {"tasktoken": task.token}]).encode()
    assert await call(receiver, receiver.url_for(BASE), body) == 200
    assert await confirmed(receiver, until) == WebhookStatistics(received=1, confirmed=1, duplicates=1)
    assert ended == [task.id]


@pytest.mark.parametrize("is_large", [False, True])
async def test_the_response_comes_first(
    receiver: WebhookReceiver, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body is parsed after the response, a large body in a thread."""
    where: list[tuple[bool, bool]] = []
    sent: list[Any] = []

    def parse(body: bytes, kind: str) -> list[Any]:
        where.append((bool(sent), threading.current_thread() is threading.main_thread()))
        return []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * (1_000_000 if is_large else 100)}

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(webhook, "ids_in", parse)
    path = httpx.URL(receiver.url_for(BASE)).path
    await receiver({"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}, receive, send)
    assert sent[0]["status"] == 200
    assert where == [(True, not is_large)]
    assert receiver.statistics() == WebhookStatistics(received=1, unreadable=1)


async def test_expensive_bodies(receiver: WebhookReceiver) -> None:
    """Deeply nested and very long forms get a response and are counted."""
    nested = b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (n, n + 1) for n in range(2000))
    form = b"&".join(b"a%d=1" % number for number in range(150))
    for body, kind in ((nested, "multipart/form-data; boundary=0"), (form, "application/x-www-form-urlencoded")):
        assert await call(receiver, receiver.url_for(BASE), body, **{"content-type": kind}) == 200
    assert receiver.statistics() == WebhookStatistics(received=2, unreadable=2)


async def test_the_session_keeps_no_receiver_alive(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Unused receivers are freed. A receiver that is in use still gets its callbacks."""
    kept = WebhookReceiver(wiro)
    unused = [weakref.ref(WebhookReceiver(wiro)) for _ in range(10)]
    gc.collect()
    assert [receiver() for receiver in unused] == [None] * 10
    running = asyncio.create_task(wiro.run("emulator/sleeper", QUICK, callback_url=kept.url_for(BASE)))
    await until(lambda: [task.finished for task in emulator.ledger.tasks.values()] == [True])
    assert await call(kept, emulator.ledger.submissions[0].callback_url) == 200
    assert (await running).succeeded
    assert not emulator.ledger.sockets


@pytest.mark.parametrize("lifetime", [float("inf"), float("nan"), "7d", None, True, 10**400, -(10**12)])
def test_lifetimes(lifetime: Any) -> None:
    """A lifetime is a finite number of seconds."""
    with pytest.raises(ConfigurationError, match=r"lifetime is .*pass a number of seconds"):
        WebhookReceiver(AsyncWiro("key"), lifetime=lifetime)


async def test_the_account_of_the_task_confirms_it(emulator: WiroEmulator, wiro: AsyncWiro, until: Until) -> None:
    """Task/Detail is read with the key that made the task, even if the receiver belongs to another account."""
    receiver = WebhookReceiver(wiro.with_options(api_key="another-account", api_secret="another-secret"))
    task = await wiro.submit("emulator/sleeper", QUICK, callback_url=receiver.url_for(BASE))
    await until(lambda: all(one.finished for one in emulator.ledger.tasks.values()))
    assert await call(receiver, emulator.ledger.submissions[0].callback_url) == 200
    assert (await confirmed(receiver, until)).confirmed == 1
    assert (await task).succeeded


async def test_a_closed_session(emulator: WiroEmulator) -> None:
    """The response is 503, so that the service may call again."""
    async with AsyncWiro(**emulator.options()) as wiro:
        receiver = WebhookReceiver(wiro)
    assert await call(receiver, receiver.url_for(BASE), b"2221") == 503


async def test_closing_the_session_ends_confirmations(emulator: WiroEmulator) -> None:
    """No background task is left. Every test checks that."""
    async with AsyncWiro(**emulator.options()) as wiro:
        receiver = WebhookReceiver(wiro)
        task = await wiro.submit("emulator/stuck")
        assert await call(receiver, receiver.url_for(BASE), about(task)) == 200
        assert receiver.statistics().pending == 1
    assert receiver.statistics().pending == 0


def test_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets come from the argument or the environment, or are random. Old ones are accepted, short ones refused."""
    wiro = AsyncWiro("key")
    old, new = WebhookReceiver(wiro, secret=SECRET), WebhookReceiver(wiro, secret=["the new one, long enough", SECRET])
    url = old.url_for(BASE)
    new.verify(url)
    with pytest.raises(WebhookVerificationError, match="not signed"):
        old.verify(new.url_for(BASE))
    with pytest.raises(WebhookVerificationError):
        WebhookReceiver(wiro).verify(url)
    monkeypatch.setenv("WIRO_WEBHOOK_SECRET", SECRET)
    WebhookReceiver(wiro).verify(url)
    assert SECRET not in repr(old)
    for short in ("short", ["long enough to be a secret", ""]):
        with pytest.raises(ConfigurationError, match="shorter than 16"):
            WebhookReceiver(wiro, secret=short)
    with pytest.raises(ConfigurationError, match="base is"):
        old.at("nowhere")


def test_urls_are_unique() -> None:
    """No two URLs are equal, and none shows the secret or the time."""
    receiver = WebhookReceiver(AsyncWiro("key"))
    urls = {receiver.url_for(BASE) for _ in range(100)}
    assert len(urls) == 100
    assert all(webhook.SEGMENT.fullmatch(webhook.segment_of(url)) for url in urls)
