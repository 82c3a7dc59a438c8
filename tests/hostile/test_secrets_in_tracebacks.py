"""No secret is in a traceback with locals, as rich, Sentry and `pytest -l` print them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, BatchFailedError, ConnectionFailedError, File, RetryPolicy, Timeouts, Tuning
from wiro_async.webhooks import WebhookReceiver

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro

KEY, SECRET = "wk-5d1f0c2a9b8e7d6c", "ws-0a1b2c3d4e5f6a7b"
PASSWORD = "pw-9f8e7d6c5b4a3f2e"
TOKEN = "tok-3c2b1a0f9e8d7c6b"
ACCESS_KEY = "acc-7b6a5f4e3d2c1b0a"
CALLBACK = "cb-1f2e3d4c5b6a7f8e"
HEADER = "hdr-6a5b4c3d2e1f0a9b"
SECRETS = (KEY, SECRET, PASSWORD, TOKEN, ACCESS_KEY, CALLBACK, HEADER)
QUICK = Tuning(
    download_pause=0.001,
    download_max_pause=0.002,
    download_failures=2,
    socket_close=0.02,
    search_grace=0.05,
    search_pause=0.01,
    socket_open=0.3,
)
MOST_FRAMES = 6

Act: TypeAlias = Callable[[AsyncWiro, "RawWiro", Path], Awaitable[object]]


async def echo(peer: Peer, status: str = "200 OK") -> None:
    """Refuse, and repeat all that was sent."""
    text = f"{peer.headers} {peer.body!r}"
    await peer.respond_json({"result": False, "errors": [{"code": 0, "message": text}]}, status=status)


async def unauthorized(peer: Peer) -> None:
    """Unauthorized."""
    await echo(peer, "401 Unauthorized")


async def server_error(peer: Peer) -> None:
    """Server error."""
    await echo(peer, "500 Oh")


async def hang_up(peer: Peer) -> None:
    """Hang up."""
    peer.reset()


async def close(peer: Peer) -> None:
    """Close."""
    raise ConnectionResetError


async def bad_json(peer: Peer) -> None:
    """Bad json."""
    await peer.respond(f'{{"x": "{peer.headers} {peer.body!r}'.encode())


async def page(peer: Peer) -> None:
    """Page."""
    await peer.respond(f"<html>{peer.headers}</html>".encode(), status="403 Forbidden")


async def silence(peer: Peer) -> None:
    """Silence."""
    await peer.gone()


async def half(peer: Peer) -> None:
    """Half."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    raise ConnectionResetError


async def rubbish(peer: Peer) -> None:
    """Rubbish."""
    await peer.send(b"rubbish\r\n\r\n")
    raise ConnectionResetError


async def large_headers(peer: Peer) -> None:
    """Large headers."""
    await peer.respond(b"{}", "X-Large: " + "x" * 200_000)


async def bomb(peer: Peer) -> None:
    """Bomb."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{")


async def coded(peer: Peer) -> None:
    """Coded."""
    await peer.respond(b"not gzip at all", "Content-Encoding: gzip")


ANSWERS = (
    unauthorized,
    server_error,
    hang_up,
    close,
    bad_json,
    page,
    silence,
    half,
    rubbish,
    large_headers,
    bomb,
    coded,
)


def output_url(raw: RawWiro) -> str:
    """The URL of an output, with its access key."""
    return f"http://127.0.0.1:{raw.port}/files/{ACCESS_KEY}/x.png?key={ACCESS_KEY}"


async def run(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Run."""
    return await wiro.run("owner/model", {"prompt": "x"}, callback_url=f"http://127.0.0.1:9/{CALLBACK}")


async def run_with_a_file(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Run with a file."""
    return await wiro.run("owner/model", {"image": File(b"x", "x.png")}, callback_url=f"http://127.0.0.1:9/{CALLBACK}")


async def submit(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Submit."""
    return await wiro.submit("owner/model", {"prompt": "x"})


async def run_by_events(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Run by events."""
    return await wiro.with_options(updates="sse").run("owner/model", {"prompt": "x"})


async def stream(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Stream."""
    async with wiro.stream("owner/model", {"prompt": "x"}) as stream:
        return await stream.result()


async def converse(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Converse."""
    return await wiro.conversation("owner/model", "session-1", previous_task_token=TOKEN).send("x")


async def talk(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Talk."""
    async with wiro.realtime("owner/model", {}) as session:
        return await session.result()


async def get(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Get."""
    return await wiro.tasks.get(TOKEN)


async def cancel(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Cancel."""
    return await wiro.tasks.cancel(TOKEN)


async def list_tasks(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """List tasks."""
    return [task async for task in wiro.tasks.list()]


async def wait(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Wait."""
    return await wiro.task(TOKEN).result(timeout=0.3)


async def follow(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Follow."""
    async with wiro.task(TOKEN).events(timeout=0.3) as events:
        return [event async for event in events]


async def info(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Info."""
    return await wiro.task(TOKEN).info()


async def models(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Models."""
    return await wiro.models.get("owner/model")


async def search(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Search."""
    return [model async for model in wiro.models.search("x")]


async def upload(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Upload."""
    return await wiro.files.upload(File(b"x", "x.png"))


async def run_all(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Run all."""
    return await wiro.map("owner/model", [{"prompt": "x"}], journal=str(folder / "run.sqlite"))


async def await_callback(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Await callback."""
    return await WebhookReceiver(wiro).wait(TOKEN, timeout=0.3)


CALLS: list[Act] = [
    run,
    run_with_a_file,
    submit,
    run_by_events,
    stream,
    converse,
    talk,
    get,
    cancel,
    list_tasks,
    wait,
    follow,
    info,
    models,
    search,
    upload,
    run_all,
    await_callback,
]


async def save(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Save."""
    return await wiro.download(output_url(raw), folder / "x.png")


async def read(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Read."""
    return await (await output(wiro, raw)).read()


async def read_as_it_comes(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Read as it comes."""
    async with (await output(wiro, raw)).stream() as chunks:
        return [chunk async for chunk in chunks]


async def save_into_nothing(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Save into nothing."""
    (folder / "file").touch()
    return await (await output(wiro, raw)).save(folder / "file" / "below" / "x.png")


async def save_with_a_batch(wiro: AsyncWiro, raw: RawWiro, folder: Path) -> object:
    """Save with a batch."""
    row(raw)
    async with wiro.batch("owner/model", [{"prompt": "x"}], save_to=folder) as batch:
        async for item in batch:
            raise item.error or item.save_error or AssertionError
    return None


DOWNLOADS: list[Act] = [save, read, read_as_it_comes, save_into_nothing, save_with_a_batch]


async def output(wiro: AsyncWiro, raw: RawWiro) -> Any:
    """An output of a task."""
    row(raw)
    return (await wiro.task(TOKEN).result()).output


def row(raw: RawWiro) -> None:
    """Make the task whose token is secret."""
    outputs = [{"name": "x.png", "contenttype": "image/png", "size": "72", "url": output_url(raw)}]
    task = raw.make_task("owner/model", {"prompt": "x"}, socketaccesstoken=TOKEN, outputs=outputs)

    async def answer(peer: Peer) -> None:
        await peer.respond_json({"result": True, "taskid": task["id"], "socketaccesstoken": TOKEN})

    raw.routes["Run"] = answer


@pytest_asyncio.fixture
async def wiro(raw: RawWiro) -> AsyncIterator[AsyncWiro]:
    """A session with recognizable secrets."""
    async with AsyncWiro(
        KEY,
        SECRET,
        base_url=raw.url.replace("//", f"//user:{PASSWORD}@"),
        socket_url=raw.socket_url,
        headers={"x-team": HEADER, "Authorization": f"Bearer {HEADER}"},
        retry=RetryPolicy(attempts=2, base=0.001),
        timeout=Timeouts(request=0.2, run=3),
        updates="polling",
        tuning=QUICK,
    ) as session:
        yield session


def links(shown: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    """An error, and all that led to it."""
    if shown is not None:
        yield shown
        for link in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
            yield from links(link)


def check(error: BaseException) -> None:
    """Assert that the traceback shows no secret, and no more frames than a reader can use."""
    for link in links(traceback.TracebackException.from_exception(error, capture_locals=True)):
        frames = [frame for frame in link.stack if frame.filename != __file__]
        for frame in frames:
            for name, value in (frame.locals or {}).items():
                assert not [secret for secret in SECRETS if secret in value], (frame.filename, frame.name, name, value)
        assert not [secret for secret in SECRETS if secret in str(link)], str(link)
        packages = [frame.filename.rpartition("site-packages/")[2] for frame in frames]
        assert len([name for name in packages if "wiro_async/" in name]) <= MOST_FRAMES, frames
        assert not [name for name in packages if name.startswith(("httpx", "httpcore", "h11", "websockets"))], frames
    for cause in chain(error):
        assert not [secret for secret in (KEY, SECRET, PASSWORD, HEADER) if secret in str(vars(cause))], vars(cause)
        request = vars(cause).get("_request")
        assert request is None, request


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and all that led to it."""
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        yield from chain(error.__context__)


async def finish(call: Awaitable[object]) -> object:
    """A coroutine, as tasks want it."""
    return await call


async def caught(act: Act, wiro: AsyncWiro, raw: RawWiro, folder: Path) -> BaseException | None:
    """The error of a call."""
    try:
        await act(wiro, raw, folder)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("act", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_call_that_fails(
    raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, answer: Callable[[Peer], Awaitable[None]], act: Act
) -> None:
    """Whatever the server does."""
    row(raw)
    for endpoint in ("Run", "Task/Detail", "Task/List", "Task/Cancel", "Task/Kill", "Tool/Detail", "Tool/List"):
        raw.routes[endpoint] = answer
    raw.routes["File/Upload"] = raw.routes["socket"] = answer
    error = await caught(act, wiro, raw, tmp_path)
    assert error is not None
    check(error)
    if isinstance(error, BatchFailedError):
        for item in error.items:
            assert item.error is not None
            check(item.error)


@pytest.mark.parametrize("act", DOWNLOADS)
@pytest.mark.parametrize("answer", [hang_up, half, page, rubbish, coded, large_headers])
async def test_a_download_that_fails(
    raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, answer: Callable[[Peer], Awaitable[None]], act: Act
) -> None:
    """The access key is in no frame."""
    raw.routes[f"files/{ACCESS_KEY}/x.png"] = answer
    error = await caught(act, wiro, raw, tmp_path)
    assert error is not None
    check(error)


@pytest.mark.parametrize("act", [*CALLS, *DOWNLOADS])
async def test_a_call_that_is_cancelled(raw: RawWiro, wiro: AsyncWiro, tmp_path: Path, act: Act) -> None:
    """A cancellation passes through all frames."""
    row(raw)
    arrived = asyncio.Event()

    async def hold(peer: Peer) -> None:
        arrived.set()
        await peer.gone()

    for endpoint in ("Task/List", "Task/Cancel", "Tool/Detail", "Tool/List", "File/Upload", "socket"):
        raw.routes[endpoint] = hold
    raw.routes[f"files/{ACCESS_KEY}/x.png"] = hold
    if act not in DOWNLOADS:
        raw.routes["Task/Detail"] = raw.routes["Run"] = hold
    elif act is save_into_nothing:
        return
    calling = asyncio.create_task(finish(act(wiro.with_options(timeout=60), raw, tmp_path)))
    async with asyncio.timeout(5):
        await arrived.wait()
    calling.cancel()
    with suppress(asyncio.CancelledError):
        await calling
    error = await caught(lambda *_: calling, wiro, raw, tmp_path)
    assert isinstance(error, asyncio.CancelledError)
    check(error)


@pytest.mark.parametrize("act", CALLS)
async def test_nobody_listens(raw: RawWiro, tmp_path: Path, act: Act, unused_tcp_port: int) -> None:
    """The connection is refused."""
    url = f"://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}/v1"
    async with AsyncWiro(
        KEY, SECRET, base_url=f"http{url}", socket_url=f"ws{url}", retry=RetryPolicy(attempts=1), tuning=QUICK
    ) as wiro:
        error = await caught(act, wiro.with_options(headers={"x-team": HEADER}, timeout=1), raw, tmp_path)
    assert error is not None
    check(error)


@pytest.mark.parametrize(
    "options",
    [
        {"updates": "pigeon"},
        {"base_url": f"ftp://user:{PASSWORD}@x"},
        {"timeout": -1},
        {"headers": {"x-team": HEADER, "x-other": 1}},
        {"transport": 7},
        {"verify": 1.5},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_a_session_that_cannot_be_made(options: dict[str, Any]) -> None:
    """The arguments are in its frame."""
    given: dict[str, Any] = {"headers": {"x-team": HEADER}, **options}
    with pytest.raises(Exception, match=r".") as failed:
        AsyncWiro(KEY, SECRET, **given)
    check(failed.value)


def test_keys_that_cannot_be_sent() -> None:
    """They are not shown either."""
    with pytest.raises(Exception, match=r".") as failed:
        AsyncWiro(f"{KEY}\n", f"{SECRET} ")
    check(failed.value)


async def test_a_proxy_with_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int) -> None:
    """Its URL is in the frames that connect."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}")
    async with AsyncWiro(KEY, SECRET, base_url="http://api.example/v1", retry=RetryPolicy(attempts=1)) as wiro:
        with pytest.raises(Exception, match=r".") as failed:
            await wiro.tasks.get(TOKEN)
        check(failed.value)
    monkeypatch.setenv("HTTP_PROXY", f"socks5://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}")
    async with AsyncWiro(KEY, SECRET, base_url="http://api.example/v1", retry=RetryPolicy(attempts=1)) as wiro:
        with pytest.raises(Exception, match=r".") as failed:
            await wiro.tasks.get(TOKEN)
        check(failed.value)


async def test_a_journal_that_fails(raw: RawWiro, wiro: AsyncWiro, tmp_path: Path) -> None:
    """Its statements carry tokens."""
    row(raw)
    path = tmp_path / "run.sqlite"
    await wiro.map("owner/model", [{"prompt": "x"}], journal=str(path))
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            with suppress(sqlite3.Error):
                connection.execute(f"drop table {table}")
    connection.close()
    error = await caught(lambda *_: wiro.map("owner/model", [{"prompt": "y"}], journal=str(path)), wiro, raw, tmp_path)
    assert error is not None
    check(error)


async def test_forged_callbacks(wiro: AsyncWiro) -> None:
    """The path that was not signed stays out."""
    receiver = WebhookReceiver(wiro)
    with pytest.raises(Exception, match=r".") as failed:
        receiver.verify(f"/{CALLBACK}")
    check(failed.value)


async def test_a_group_of_errors(raw: RawWiro, wiro: AsyncWiro, tmp_path: Path) -> None:
    """Each error of a task group is clean."""
    raw.routes["Task/Detail"] = unauthorized

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(wiro.tasks.get(TOKEN))

    with pytest.raises(BaseExceptionGroup) as failed:
        await all_of_them()
    check(failed.value)


async def test_an_error_while_another_is_handled(raw: RawWiro, wiro: AsyncWiro) -> None:
    """The traceback of the caller's own error stays as it was."""
    raw.routes["Task/Detail"] = hang_up
    own = failed = None
    try:
        try:
            raise KeyError("own")
        except KeyError as error:
            own = error
            await wiro.tasks.get(TOKEN)
    except ConnectionFailedError as error:
        failed = error
    assert failed is not None
    assert own is not None
    assert failed.__context__ in (own, None)
    assert own.__traceback__ is not None
    check(failed)


async def test_errors_of_the_caller_keep_their_frames(raw: RawWiro, wiro: AsyncWiro) -> None:
    """A source that fails shows where."""

    async def source() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("the camera is gone")

    with pytest.raises(ValueError, match="camera") as failed:
        await wiro.run("owner/model", {"video": File(source(), "x.mp4")})
    assert "source" in [frame.name for frame in traceback.extract_tb(failed.value.__traceback__)]
    check(failed.value)


async def test_the_log_with_tracebacks(raw: RawWiro, wiro: AsyncWiro, caplog: pytest.LogCaptureFixture) -> None:
    """Records that carry an error are clean, too."""
    caplog.set_level(logging.DEBUG)
    for answer in ANSWERS:
        raw.routes["Task/Detail"] = answer
        await caught(get, wiro, raw, Path())
    for record in caplog.records:
        if record.exc_info and record.exc_info[1] is not None and record.name.startswith("wiro"):
            check(record.exc_info[1])
    assert not [secret for secret in SECRETS if secret in caplog.text]
