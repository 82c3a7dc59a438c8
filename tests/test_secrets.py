"""Secrets stay secret: in every repr, log record, error and traceback of a busy session."""

from __future__ import annotations

import importlib
import logging
import pickle
import pkgutil
import secrets
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import pytest_asyncio

import wiro_async
from wiro_async import (
    APIError,
    AsyncWiro,
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    File,
    RetryPolicy,
    TaskFailedError,
    TaskTimeoutError,
    Timeouts,
    TransportError,
    Tuning,
    WiroError,
)
from wiro_async._redaction import redact, remove_secrets, shorten_url, strip_userinfo
from wiro_async.testing import (
    Cut,
    DropAfter,
    ModelScript,
    ResetAfter,
    ResetBefore,
    Respond,
    Script,
    Step,
    WiroEmulator,
    timeline,
)
from wiro_async.webhooks import WebhookReceiver

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
NEED_EXTRAS = ("wiro_async.testing", "wiro_async._demo", "wiro_async.cli")
QUICK = {"seconds": 5, "events": 9}
HTML = "<html>Your request: x-api-key: {key} GET {url} {key}</html>"


@pytest.fixture
def server(tls_context: object, short_timing: Tuning, monkeypatch: pytest.MonkeyPatch) -> Iterator[WiroEmulator]:
    """An emulator with recognizable secrets."""
    monkeypatch.setattr("wiro_async._transport.network.tls.Tls.context", tls_context)
    key, secret = f"wk-{secrets.token_hex(16)}", f"ws-{secrets.token_hex(16)}"
    url = "https://cdn1.wiro.ai/ACCESSKEY0123456789abcdef/0.png"
    steps = [Step("task_error", "", log=f"could not read {url}\n", error=f"could not read {url}\n")]
    leaky = ModelScript("emulator/leaky", lambda given: Script(timeline(3, steps), exit_code="1"))
    tuning = attrs.evolve(short_timing, download_pause=0.001, download_max_pause=0.002)
    with WiroEmulator(api_key=key, api_secret=secret, models=[leaky], speed=50, tuning=tuning) as emulator:
        yield emulator


@pytest_asyncio.fixture
async def session(server: WiroEmulator) -> AsyncIterator[AsyncWiro]:
    """A session with short timing."""
    async with AsyncWiro(
        **server.options(), retry=RetryPolicy(attempts=3, base=0.01), timeout=Timeouts(request=1, run=20)
    ) as wiro:
        yield wiro


class Witness:
    """Keeps everything that a user could see."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def look(self, *things: object) -> None:
        self.seen += [text for thing in things for text in (repr(thing), str(thing), f"{thing}")]

    def catch(self, error: BaseException) -> None:
        self.look(error)
        self.seen += traceback.format_exception(error)
        self.seen += traceback.format_exception(pickle.loads(pickle.dumps(error)))


async def troubles(server: WiroEmulator, wiro: AsyncWiro, witness: Witness, folder: Path) -> None:
    """Every failure of an API call, a run and a download."""
    output = (await wiro.run("emulator/painter", {"prompt": "x", "width": 16, "height": 16, "seconds": 3})).output
    html = HTML.format(key=server.api_key, url=output.url)
    echo = f'{{"result":false,"errors":[{{"code":0,"message":"no such key {server.api_key} at {output.url}"}}]}}'
    for fault in (Respond(502, html), Respond(401, echo), Respond(429, echo), ResetBefore(), ResetAfter()):
        server.faults.clear()
        server.faults.http("Task/*", fault, times=7)
        server.faults.http("Run/*", fault)
        for act in (wiro.tasks.get("1"), wiro.run("emulator/sleeper", QUICK)):
            try:
                witness.look(await act)
            except WiroError as error:
                witness.catch(error)
    for broken in (Respond(403, html), Respond(302, headers={"location": f"{output.url}x"}), Cut(0)):
        server.faults.clear()
        server.faults.http("files/*", broken, times=None)
        with pytest.raises(DownloadError) as caught:
            await output.save(folder / "x")
        witness.catch(caught.value)
    server.faults.clear()


async def all_work(server: WiroEmulator, wiro: AsyncWiro, witness: Witness, folder: Path) -> None:
    """Every kind of work, with every way to follow it."""
    receiver = WebhookReceiver(wiro)
    url = receiver.url_for("http://127.0.0.1:9")
    server.faults.output_lag = 1
    server.faults.socket(DropAfter(3), times=1)
    for mode in ("auto", "polling", "sse"):
        view = wiro.with_options(updates=mode)
        handle = await view.submit("emulator/writer", {"prompt": "tides", "seconds": 5}, callback_url=url)
        async with handle.events() as events:
            witness.look(handle, handle.id, events, [event async for event in events])
        result = await handle
        witness.look(
            view, result, result.info, result.outputs, result.output, result.output.record, await handle.info()
        )
        paths = await result.save(folder / mode)
        witness.look(paths)
    uploaded = await wiro.files.upload(File(PNG, "a.png"))
    painted = await wiro.run("emulator/mirror", {"inputImage": uploaded.url, "seconds": 1})
    witness.look(uploaded, painted, painted.outputs, receiver, receiver.statistics(), wiro.statistics())
    witness.look(len(await painted.output.read()))
    async with wiro.batch("emulator/sleeper", [QUICK] * 2) as batch:
        witness.look(batch, [item async for item in batch], batch.stats)
    with pytest.raises(TaskFailedError) as failed:
        await wiro.run("emulator/leaky")
    witness.catch(failed.value)
    with pytest.raises(TaskTimeoutError) as late:
        await wiro.run("emulator/stuck", timeout=0.2)
    assert late.value.token
    witness.catch(late.value)


async def test_a_busy_session_leaks_no_secret(
    server: WiroEmulator,
    session: AsyncWiro,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    known_secrets: Callable[[WiroEmulator], set[str]],
) -> None:
    """Search all that is logged, shown or raised during runs, uploads, faults, timeouts and callbacks."""
    loggers = ["", *(name for name in logging.root.manager.loggerDict if name.startswith(("wiro_async", "asyncio")))]
    witness = Witness()
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.DEBUG)
        await all_work(server, session, witness, tmp_path)
        await troubles(server, session, witness, tmp_path)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    witness.seen += [caplog.text, *(f"{record.args!r} {record.exc_info!r}" for record in caplog.records)]
    text = "\n".join(witness.seen)
    found = known_secrets(server) | {"ACCESSKEY0123456789abcdef"}
    assert len(found) > 30
    assert len([record for record in caplog.records if record.name.startswith("wiro_async")]) > 10
    assert len(witness.seen) > 100
    for secret in found:
        place = text.find(secret)
        assert place < 0, f"{secret} is seen: {text[max(0, place - 200) : place + 80]}"


async def test_wrong_keys_are_not_repeated(server: WiroEmulator) -> None:
    """Not even by the service."""
    server.faults.http("*", Respond(401, '{"result":false,"errors":["key my-own-secret-key is not known"]}'))
    async with AsyncWiro("my-own-secret-key", base_url=server.base_url) as wiro:
        with pytest.raises(AuthenticationError) as caught:
            await wiro.tasks.get("1")
    assert (
        "my-own-secret-key" not in f"{caught.value!r} {caught.value.message} {caught.value.errors} {caught.value.args}"
    )
    assert "is not known" in str(caught.value)


async def test_passwords_in_urls(unused_tcp_port: int) -> None:
    """A base URL may contain one. It is sent, and never shown."""
    wiro = AsyncWiro(
        "key", base_url=f"http://me:pa55word@127.0.0.1:{unused_tcp_port}/v1", retry=RetryPolicy(attempts=1)
    )
    async with wiro:
        assert repr(wiro) == f"AsyncWiro('http://127.0.0.1:{unused_tcp_port}/v1')"
        with pytest.raises(TransportError) as caught:
            await wiro.tasks.get("1")
    assert "pa55word" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ConfigurationError) as refused:
        AsyncWiro("key", base_url="ftp://me:pa55word@host")
    assert "pa55word" not in str(refused.value)


def modules() -> Iterator[Any]:
    """All modules of the package without those that need extras."""
    for found in pkgutil.walk_packages(wiro_async.__path__, "wiro_async."):
        if not found.name.startswith(NEED_EXTRAS) and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_records_do_not_show_fields_with_secrets() -> None:
    """Fields with these names are left out of every repr."""
    sensitive = {"token", "raw", "headers", "body", "api_key", "api_secret", "callback_url", "parts", "url", "data"}
    classes = {kind for module in modules() for kind in vars(module).values() if isinstance(kind, type)}
    records = [kind for kind in classes if attrs.has(kind) and kind.__module__.startswith("wiro_async")]
    shown = {
        f"{kind.__name__}.{field.name}"
        for kind in records
        for field in attrs.fields(kind)
        if field.name in sensitive and field.repr is True
    } - {"ModelSection.url"}  # a public page
    assert len(records) > 40
    assert not shown


@pytest.mark.parametrize(
    "text, safe",
    [
        ("GET https://cdn1.wiro.ai/KEY/0.png failed", "GET cdn1.wiro.ai/… failed"),
        ("(url='https://me:pw@host:1/a?token=x')", "(url='host:1/…')"),
        ("wss://socket.wiro.ai/v1", "socket.wiro.ai/…"),
        ("https://host and https://host/", "host and host/"),
        ("x-api-key: 0123456789 and x-signature=abcdef0123", "x-api-key: … and x-signature=…"),
        ('{"socketaccesstoken":"eDcC01234567","id":"1"}', '{"socketaccesstoken":"…","id":"1"}'),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer …"),
        ("accesskey=ABCDEFGHIJ&x=1", "accesskey=…&x=1"),
        ("max_tokens: 4096, token: 512", "max_tokens: 4096, token: 512"),
        ("bearer token missing, invalid, expired", "bearer token missing, invalid, expired"),
        ("nothing to hide", "nothing to hide"),
        (r"see https:\/\/cdn1.wiro.ai\/KEY\/0.png now", r"see https:\/\/cdn1.wiro.ai/… now"),
        (r"{\"url\":\"https:\\/\\/cdn1.wiro.ai\\/KEY\\/0.png\"}", r'{\"url\":\"https:\\/\\/cdn1.wiro.ai/…"}'),
        ("u=https%3A%2F%2Fcdn1.wiro.ai%2FKEY%2F0.png", "u=https%3A%2F%2Fcdn1.wiro.ai/…"),
        ("//cdn1.wiro.ai/KEY/0.png failed", "//cdn1.wiro.ai/… failed"),
        ("cdn1.wiro.ai:8080/KEY/0.png failed", "cdn1.wiro.ai:8080/… failed"),
        ("cdn1.wiro.ai%2FKEY%2F0.png failed", "cdn1.wiro.ai/… failed"),
        ("GET /v1/File/KEY/0.png failed", "GET /v1/File/… failed"),
        ("cdn1.wiro.ai/…/0.png answered HTTP 403", "cdn1.wiro.ai/…/0.png answered HTTP 403"),
        ("ftp://me:pa55word@x/KEY", "ftp://x/…"),
        ("by http://me:pa55/word@proxy:3128", "by http://…"),
        ("by http://me:pa55#word@proxy:3128", "by http://…"),
        ("bad header x-api-key wk-0123456789 used", "bad header x-api-key … used"),
        ("Signature 0123abcd0123abcd does not match", "Signature … does not match"),
        ("api key required, token expired", "api key required, token expired"),
        ('File "/app/lib/main.py", in a/b or c.d', 'File "/app/lib/main.py", in a/b or c.d'),
        (
            "/usr/lib/python3.11/site-packages/x.py of openai/gpt-5.2",
            "/usr/lib/python3.11/site-packages/x.py of openai/gpt-5.2",
        ),
    ],
)
def test_redaction(text: str, safe: str) -> None:
    """URLs keep their host, and named secrets their name. Other text is kept, and redacting twice changes nothing."""
    shown = redact(text)
    assert shown.replace("https://", "").replace("wss://", "") == safe
    assert redact(shown) == shown


def test_what_is_shown_of_urls() -> None:
    """Host and file name, and nothing that could be a key."""
    assert shorten_url("https://me:pw@cdn1.wiro.ai/KEY/b%C3%A4r.png?sig=1") == "cdn1.wiro.ai/…/bär.png"
    assert shorten_url("https://api.wiro.ai/v1/File/KEY") == "api.wiro.ai/…/"
    assert shorten_url("http://[") == "…"
    assert strip_userinfo("http://a:b@c@host/x@y") == "http://host/x@y"
    assert strip_userinfo("host/x@y") == "host/x@y"
    assert strip_userinfo("http://me:pa55/word@host") == "http://…"
    assert remove_secrets("key abc, secret 12345678", ["abc", "12345678"]) == "key abc, secret …"


async def test_an_error_shows_itself_redacted() -> None:
    """The error redacts its text itself."""
    error = APIError(0, 200, "see https://host/SECRETPATH", ["x"])
    assert str(error) == "see https://host/… (code 0)"
    assert repr(error) == "APIError('see https://host/… (code 0)')"
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)
    assert (
        repr(TaskTimeoutError("run", 1.0, task_id="5", token="SECRETTOKEN"))
        == f"TaskTimeoutError({str(TaskTimeoutError('run', 1.0, task_id='5'))!r})"
    )
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", [APIError, ConfigurationError, TransportError, wiro_async.DecodingError])
def test_an_error_does_not_hold_what_it_does_not_show(kind: type[wiro_async.WiroError]) -> None:
    """Error trackers read arguments and attributes too."""
    text = "see https://host/SECRETPATH"
    error = APIError(0, 200, text, [text]) if kind is APIError else kind(text)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert "SECRETPATH" not in f"{one.args} {vars(one)}"
        assert "https://host/…" in str(one)
