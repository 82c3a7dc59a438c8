"""What all tests share: an emulator, a session on it, and the rule that nothing is left over."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import logging
import os
import selectors
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import attrs
import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from hypothesis import settings

from wiro_async import AsyncWiro, Tuning
from wiro_async._transport.network.tls import Tls
from wiro_async.testing import WiroEmulator

VARIABLES = ("WIRO_API_KEY", "WIRO_API_SECRET", "WIRO_API_BASE_URL", "WIRO_SOCKET_URL")
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

HURRIED = Tuning(
    poll_first=0.05,
    poll_silence=0.1,
    poll_min=0.02,
    poll_confirm=0.02,
    refusal_grace=0.05,
    socket_backoff=0.01,
    socket_close=0.1,
    search_pause=0.02,
    search_max_pause=0.1,
    search_grace=0.3,
    window_other_probe=0.05,
)
STEP = 0.02  # seconds of sleep at a time; more than so much of a stall cannot hide in a longer one
SLACK = 0.01  # seconds by which a sleep, or the work between two, may well be late


class Until(Protocol):
    """Wait until a condition holds; the test fails if it does not within `seconds`."""

    async def __call__(self, condition: Callable[[], object], seconds: float = 10.0) -> None: ...


class Printed(Protocol):
    """Run a block of a page, with `await` allowed, and tell what it prints."""

    async def __call__(self, code: str, names: dict[str, Any]) -> str: ...


@pytest.fixture
def printed() -> Printed:
    """What a block of a page prints."""

    async def printed(code: str, names: dict[str, Any]) -> str:
        compiled = compile(code, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            running = eval(compiled, names)
            if inspect.isawaitable(running):
                await running
        return said.getvalue()

    return printed


class PatientSelector(selectors.DefaultSelector):
    """Adds up the seconds in which the loop was kept from running.

    On a machine that runs four tests at a time on two cores, a process may not be let near the processor for longer
    than the time-outs in tests, and a server that lives in the same loop as its client would answer too late. The time
    that a loop means to sleep passes; that in which it could not run does not.

    Attributes:
        lost: their sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0.0
        self._seen = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As every selector, in small steps."""
        self._passed(0.0)
        while True:
            step = STEP if timeout is None else min(STEP, max(0.0, timeout))
            events = super().select(step)
            self._passed(step)
            if timeout is not None:
                timeout -= step
            if events or (timeout is not None and timeout <= 0):
                return events

    def _passed(self, expected: float) -> None:
        now = time.monotonic()
        self.lost += max(0.0, now - self._seen - expected - SLACK)
        self._seen = now


class PatientLoop(asyncio.SelectorEventLoop):
    """The usual loop with that clock."""

    def __init__(self) -> None:
        self._patience, self._latest = PatientSelector(), 0.0
        super().__init__(self._patience)

    def time(self) -> float:
        """Seconds, without those in which nothing could run."""
        self._latest = max(self._latest, super().time() - self._patience.lost)  # what was lost may be found out late
        return self._latest


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of every asynchronous test."""
    return {"patient": PatientLoop}


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's own keys and addresses never reach a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def libraries_loaded() -> None:
    """What sessions import at first use is there already, so that no test's timing depends on being the first."""
    names = ("wiro_async._transport.http.pool", "httpx_aiohttp", "httpx2", "websockets.asyncio.client", "PIL.Image")
    for name in (*names, "msgspec.json", "jsonschema"):
        importlib.import_module(name)


@pytest_asyncio.fixture
async def no_leftovers() -> AsyncIterator[None]:
    """No asyncio task outlives a test, and none of our code blocks the loop in it."""
    with blockbuster_ctx("wiro_async", excluded_modules=["wiro_async.testing"]) as blockbuster:
        blockbuster.functions["threading.Lock.acquire"].deactivate()  # coverage's own is held for an instant only
        yield
    here = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not here and not task.done()]
    assert not left, f"tasks left over: {left}"


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> None:
    """Every asynchronous test is watched."""
    function = getattr(request, "function", None)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        request.getfixturevalue("no_leftovers")


class Heard(logging.Handler):
    """Keeps what is logged, at any level."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, its traceback and its arguments."""
        self.texts.append(f"{self.format(record)} {record.args!r}")


def secrets_of(server: WiroEmulator) -> set[str]:
    """All that an emulator knows and nobody else may see."""
    found = {server.api_key, str(server.api_secret)}
    found |= {task.token for task in server.ledger.tasks.values()}
    found |= set(server._service.files._files)
    found |= {call.headers["x-signature"] for call in list(server.ledger.calls) if "x-signature" in call.headers}
    for submission in list(server.ledger.submissions):
        found |= {part for part in submission.callback_url.split("?")[0].split("/") if len(part) > 40}
    return {secret for secret in found if len(secret) >= 8}


@pytest.fixture
def known_secrets() -> Callable[[WiroEmulator], set[str]]:
    """The same for tests that look elsewhere."""
    return secrets_of


@pytest.fixture(scope="session")
def emulators() -> Iterator[WeakSet[WiroEmulator]]:
    """All that were started and are still known to somebody."""
    known = WeakSet[WiroEmulator]()
    start = WiroEmulator.start

    def started(server: WiroEmulator) -> None:
        known.add(server)
        start(server)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WiroEmulator, "start", started)
        yield known


@pytest.fixture(autouse=True)
def no_secrets_in_the_log(emulators: WeakSet[WiroEmulator]) -> Iterator[None]:
    """Whatever a test does, no key, token, signature or access key of an emulator is logged, at no level."""
    heard, loggers = Heard(), [logging.getLogger("wiro_async"), logging.getLogger("asyncio")]
    loggers[0].setLevel(logging.DEBUG)
    for logger in loggers:
        logger.addHandler(heard)
    yield
    loggers[0].setLevel(logging.NOTSET)
    for logger in loggers:
        logger.removeHandler(heard)
    if text := "\n".join(heard.texts):
        for server in emulators:
            leaked = {secret for secret in secrets_of(server) if secret in text}
            assert not leaked, f"logged: {leaked}\n{text}"


@pytest.fixture(scope="session")
def tls_context() -> ssl.SSLContext:
    """Building one takes longer than most tests."""
    return Tls().context


def tuned(request: pytest.FixtureRequest, tuning: Tuning) -> Tuning:
    """A tuning with what the test's own marks say: `@pytest.mark.tuning(poll_silence=0.5)`."""
    for mark in request.node.iter_markers("tuning"):
        tuning = attrs.evolve(tuning, **mark.kwargs)
    return tuning


@pytest.fixture
def emulator(
    request: pytest.FixtureRequest, tls_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WiroEmulator]:
    """A fresh emulator, fifty times as fast as life."""
    monkeypatch.setattr(Tls, "context", tls_context)
    with WiroEmulator(speed=50, tuning=tuned(request, Tuning())) as running:
        yield running


@pytest_asyncio.fixture
async def wiro(emulator: WiroEmulator, hurried: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session with that emulator."""
    async with AsyncWiro(**emulator.options()) as session:
        yield session


@pytest_asyncio.fixture
async def patient(emulator: WiroEmulator) -> AsyncIterator[AsyncWiro]:
    """A session as people have it, with all the patience of life."""
    async with AsyncWiro(**emulator.options()) as session:
        yield session


@pytest_asyncio.fixture
async def polling(emulator: WiroEmulator, hurried: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session that never opens a socket."""
    async with AsyncWiro(**emulator.options(), updates="polling") as session:
        yield session


@pytest.fixture
def until() -> Until:
    """Wait for a condition, within a limit."""

    async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {_told(condition)}"
            await asyncio.sleep(0.005)

    return until


@pytest.fixture
def hurried(request: pytest.FixtureRequest) -> Tuning:
    """Short timing: what takes seconds in production takes hundredths. Sessions with `emulator` have it."""
    tuning = tuned(request, HURRIED)
    if "emulator" in request.fixturenames:
        request.getfixturevalue("emulator").tuning = tuning
    return tuning


@pytest.fixture
def open_files() -> Callable[[], set[str]]:
    """What this process holds open, as the system tells it."""

    def held() -> set[str]:
        links = set[str]()
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                links.add(f"{entry.name} {entry.readlink()}")
        return links

    return held


def _told(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
