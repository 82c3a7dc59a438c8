"""Shared by all tests: an emulator, sessions on it, and checks that nothing is left behind."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
import runpy
import selectors
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from weakref import WeakSet

import attrs
import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from hypothesis import settings

from wiro_async import AsyncWiro, Tuning
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from postgres_server import PostgresServer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAME = "two.test"  # a host with several addresses, see `resolve`
VARIABLES = ("WIRO_API_KEY", "WIRO_API_SECRET", "WIRO_API_BASE_URL", "WIRO_SOCKET_URL")
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

SHORT_TIMING = Tuning(
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
STEP = 0.02  # seconds of sleep at a time, so that a stall cannot hide in a long sleep
SLACK = 0.01  # seconds by which a sleep, or the work between two sleeps, may be late


Generation: TypeAlias = Literal["mixed", "older", "newer"]


class Until(Protocol):
    """Wait until a condition holds. The test fails if it does not hold within `seconds`."""

    async def __call__(self, condition: Callable[[], object], seconds: float = 10.0) -> None: ...


class StallSelector(selectors.DefaultSelector):
    """Measures the time in which the loop could not run.

    Tests run in parallel on few cores, so the system may suspend a process for longer than the timeouts of a test. A
    server that shares the loop with its client would then respond too late. This selector sleeps in short steps, and
    counts how much longer than planned each step takes.

    Attributes:
        lost: seconds in which the loop could not run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0.0
        self._seen = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events in short steps."""
        self._measure(0.0)
        while True:
            step = STEP if timeout is None else min(STEP, max(0.0, timeout))
            events = super().select(step)
            self._measure(step)
            if timeout is not None:
                timeout -= step
            if events or (timeout is not None and timeout <= 0):
                return events

    def _measure(self, expected: float) -> None:
        now = time.monotonic()
        self.lost += max(0.0, now - self._seen - expected - SLACK)
        self._seen = now


class StallTolerantLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while the loop could not run."""

    def __init__(self) -> None:
        self._stalls, self._latest = StallSelector(), 0.0
        super().__init__(self._stalls)

    def time(self) -> float:
        """Return seconds, without the time in which the loop could not run. The time never goes backwards."""
        self._latest = max(self._latest, super().time() - self._stalls.lost)
        return self._latest


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of every asynchronous test."""
    return {"stall-tolerant": StallTolerantLoop}


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and URLs of the environment never reach a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests on loopback use no proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def unused_port() -> int:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A host that answers nothing: a full queue makes the system drop what asks for a connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


class Resolve(Protocol):
    """Give a name the addresses of some ports, in this order; other names keep theirs."""

    def __call__(self, *ports: int, name: str = NAME) -> None: ...


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """A function that decides what a name resolves to."""
    real = socket.getaddrinfo

    def set_ports(*ports: int, name: str = NAME) -> None:
        def fake(host: Any, port: Any, *args: Any, **options: Any) -> Any:
            if host not in (name, name.encode()):
                return real(host, port, *args, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", one)) for one in ports]

        monkeypatch.setattr(socket, "getaddrinfo", fake)

    return set_ports


@pytest.fixture(scope="session", autouse=True)
def libraries_loaded() -> None:
    """Import what sessions import at first use, so that the timing of a test does not depend on being the first."""
    names = ("wiro_async._transport.http.pool", "httpx_aiohttp", "httpx2", "websockets.asyncio.client", "PIL.Image")
    for name in (*names, "msgspec.json", "jsonschema"):
        importlib.import_module(name)


@pytest_asyncio.fixture
async def no_leftovers() -> AsyncIterator[None]:
    """Check that no asyncio task outlives the test, and that no code of the package blocks the loop."""
    own_threads = ["wiro_async.testing", "wiro_async._transport.postgres"]  # event loops of threads that may block
    with blockbuster_ctx("wiro_async", excluded_modules=own_threads) as blockbuster:
        blockbuster.functions["threading.Lock.acquire"].deactivate()  # coverage holds its own lock only briefly
        yield
    here = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not here and not task.done()]
    assert not left, f"tasks left over: {left}"


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> None:
    """Apply `no_leftovers` to every asynchronous test."""
    function = getattr(request, "function", None)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        request.getfixturevalue("no_leftovers")


class LogRecorder(logging.Handler):
    """Keeps all log records as text, at any level."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, its traceback and its arguments."""
        self.texts.append(f"{self.format(record)} {record.args!r}")


def secrets_of(server: WiroEmulator) -> set[str]:
    """Return all secrets of an emulator: keys, tokens, signatures and access keys."""
    found = {server.api_key, str(server.api_secret)}
    found |= {task.token for task in server.ledger.tasks.values()}
    found |= {url.partition("/File/")[2].partition("/")[0] for url in server.ledger.file_urls}
    found |= {call.headers["x-signature"] for call in list(server.ledger.calls) if "x-signature" in call.headers}
    for submission in list(server.ledger.submissions):
        found |= {part for part in submission.callback_url.split("?")[0].split("/") if len(part) > 40}
    return {secret for secret in found if len(secret) >= 8}


@pytest.fixture
def known_secrets() -> Callable[[WiroEmulator], set[str]]:
    """A function that returns all secrets of an emulator."""
    return secrets_of


@pytest.fixture(scope="session")
def emulators() -> Iterator[WeakSet[WiroEmulator]]:
    """All emulators that were started and still exist."""
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
    """Check that no test logs a key, token, signature or access key of an emulator, at any level."""
    recorder, loggers = LogRecorder(), [logging.getLogger("wiro_async"), logging.getLogger("asyncio")]
    loggers[0].setLevel(logging.DEBUG)
    for logger in loggers:
        logger.addHandler(recorder)
    yield
    loggers[0].setLevel(logging.NOTSET)
    for logger in loggers:
        logger.removeHandler(recorder)
    if text := "\n".join(recorder.texts):
        for server in emulators:
            leaked = {secret for secret in secrets_of(server) if secret in text}
            assert not leaked, f"logged: {leaked}\n{text}"


@pytest.fixture(scope="session")
def tls_context() -> ssl.SSLContext:
    """One TLS context for all tests. Building one takes longer than most tests."""
    return Tls().context


def tuned(request: pytest.FixtureRequest, tuning: Tuning) -> Tuning:
    """Return a tuning with the changes of the test's marks, such as `@pytest.mark.tuning(poll_silence=0.5)`."""
    for mark in request.node.iter_markers("tuning"):
        tuning = attrs.evolve(tuning, **mark.kwargs)
    return tuning


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server. It starts in half a second, so each process of the tests has its own."""
    module = runpy.run_path(str(BENCHMARKS / "postgres_server.py"))
    if reason := module["missing"]():
        pytest.skip(reason)
    with module["PostgresServer"]() as server:
        yield server


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    """The name of an empty database."""
    return postgres_server.create_database()


@pytest.fixture
def database_url(postgres_server: PostgresServer, database: str) -> str:
    """The URL of an empty database."""
    return postgres_server.url(database)


@pytest.fixture
def message_generation() -> Generation:
    """The generation of the emulator's socket messages: with the token and with the id in turns."""
    return "mixed"


@pytest.fixture
def emulator(
    request: pytest.FixtureRequest,
    tls_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    message_generation: Generation,
) -> Iterator[WiroEmulator]:
    """A new emulator at fifty times the speed."""
    monkeypatch.setattr(Tls, "context", tls_context)
    with WiroEmulator(speed=50, generation=message_generation, tuning=tuned(request, Tuning())) as running:
        yield running


@pytest_asyncio.fixture
async def wiro(emulator: WiroEmulator, short_timing: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session with the emulator."""
    async with AsyncWiro(**emulator.options()) as session:
        yield session


@pytest_asyncio.fixture
async def default_session(emulator: WiroEmulator) -> AsyncIterator[AsyncWiro]:
    """A session with the default timing."""
    async with AsyncWiro(**emulator.options()) as session:
        yield session


@pytest_asyncio.fixture
async def polling(emulator: WiroEmulator, short_timing: Tuning) -> AsyncIterator[AsyncWiro]:
    """A session that never opens a socket."""
    async with AsyncWiro(**emulator.options(), updates="polling") as session:
        yield session


@pytest.fixture
def until() -> Until:
    """A function that waits for a condition."""

    async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            assert loop.time() < deadline, f"not within {seconds} s: {_source(condition)}"
            await asyncio.sleep(0.005)

    return until


@pytest.fixture
def base_timing() -> Tuning:
    """The tuning that `short_timing` starts from."""
    return SHORT_TIMING


@pytest.fixture
def short_timing(request: pytest.FixtureRequest, base_timing: Tuning) -> Tuning:
    """Short timing: waits of seconds take hundredths. Sessions with `emulator` use it."""
    tuning = tuned(request, base_timing)
    if "emulator" in request.fixturenames:
        request.getfixturevalue("emulator").tuning = tuning
    return tuning


@pytest_asyncio.fixture
async def http() -> AsyncIterator[HttpTransport]:
    """The HTTP layer of a session."""
    transport = HttpTransport(Tls(), Tuning())
    yield transport
    await transport.aclose()


@pytest.fixture
def open_files() -> Callable[[], set[str]]:
    """A function that returns the open files of this process."""

    def held() -> set[str]:
        links = set[str]()
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                links.add(f"{entry.name} {entry.readlink()}")
        return links

    return held


def _source(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
