"""`AsyncWiro`: settings, keys, views, opening and closing."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import inspect
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from wiro_async import (
    AsyncWiro,
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
    RetryPolicy,
    SessionClosedError,
    Statistics,
    Timeouts,
    Tuning,
)
from wiro_async._api.session_options import CallOptions, Options, SessionOptions, SharedOptions, ViewOptions
from wiro_async.testing import Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Until

QUICK = {"seconds": 3, "events": 9}


def is_zero(statistics: Statistics) -> bool:
    """Whether nothing is held."""
    return not any(attrs.astuple(statistics))


async def test_without_a_key_the_error_names_the_variables() -> None:
    """A new user learns which variables to set."""
    with pytest.raises(ConfigurationError, match=r"(?s)WIRO_API_KEY.*WIRO_API_SECRET"):
        AsyncWiro()


async def test_a_secret_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature needs both, even behind a proxy."""
    monkeypatch.setenv("WIRO_API_SECRET", "s3cret-value")
    with pytest.raises(ConfigurationError, match="WIRO_API_KEY") as caught:
        AsyncWiro(headers={"x-team": "blue"})
    assert "s3cret-value" not in str(caught.value)


@pytest.mark.parametrize("key", ["abc\n", " abc", "abc\r\nx: y", "ключ"])
async def test_a_key_that_no_header_can_carry(key: str) -> None:
    """The error names the setting and never shows its value."""
    with pytest.raises(ConfigurationError, match="WIRO_API_KEY") as caught:
        AsyncWiro(key)
    assert key.strip() not in str(caught.value)
    with pytest.raises(ConfigurationError, match="WIRO_API_SECRET"):
        AsyncWiro("key", key)


async def test_everything_from_the_environment(emulator: WiroEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and URLs come from the variables that other Wiro clients use."""
    options = emulator.options()
    monkeypatch.setenv("WIRO_API_KEY", options["api_key"])
    monkeypatch.setenv("WIRO_API_SECRET", str(options["api_secret"]))
    monkeypatch.setenv("WIRO_API_BASE_URL", options["base_url"] + "/")
    monkeypatch.setenv("WIRO_SOCKET_URL", options["socket_url"])
    async with AsyncWiro() as wiro:
        assert (await wiro.run("emulator/sleeper", QUICK)).succeeded
        assert emulator.base_url in repr(wiro)
    assert len(emulator.ledger.sockets) == 1


@pytest.mark.parametrize(
    "setting",
    [
        {"base_url": "ftp://wiro.test"},
        {"base_url": "api.wiro.test/v1"},
        {"socket_url": "https://wiro.test"},
        {"socket_url": "ws://"},
        {"base_url": "https://["},
        {"updates": "telepathy"},
    ],
    ids=str,
)
async def test_wrong_settings(setting: Any) -> None:
    """A setting that cannot work is refused at once, by its name."""
    with pytest.raises(ConfigurationError, match=r"WIRO_BASE_URL|WIRO_API_BASE_URL|WIRO_SOCKET_URL|updates"):
        AsyncWiro("key", **setting)


async def test_every_request_has_a_new_signature(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """Key, nonce and HMAC on each call. No nonce repeats."""
    for _ in range(3):
        await wiro.run("emulator/sleeper", QUICK)
    headers = [call.headers for call in emulator.ledger.calls]
    nonces = [sent["x-nonce"] for sent in headers]
    assert len(set(nonces)) == len(nonces) >= 6
    for sent in headers:
        message = f"{emulator.api_secret}{sent['x-nonce']}".encode()
        expected = hmac.new(emulator.api_key.encode(), message, hashlib.sha256).hexdigest()
        assert (sent["x-api-key"], sent["x-signature"]) == (emulator.api_key, expected)
        assert sent["user-agent"].startswith("wiro-async/")


async def test_a_wrong_secret_is_refused(emulator: WiroEmulator) -> None:
    """The service checks the signature, and the error says so without a secret in it."""
    options = {**emulator.options(), "api_secret": "wrong-secret"}
    async with AsyncWiro(**options) as wiro:  # type: ignore[arg-type]
        with pytest.raises(AuthenticationError) as caught:
            await wiro.run("emulator/sleeper")
    assert "wrong-secret" not in f"{caught.value!r}{caught.value}"
    assert not emulator.ledger.submissions


async def test_a_key_alone_is_enough_where_no_signature_is_asked() -> None:
    """Without a secret nothing is signed."""
    with WiroEmulator(api_secret=None, speed=50) as emulator:
        async with AsyncWiro(**emulator.options()) as wiro:
            assert (await wiro.run("emulator/sleeper", QUICK)).succeeded
    assert all("x-signature" not in call.headers for call in emulator.ledger.calls)


async def test_headers_instead_of_a_key(emulator: WiroEmulator) -> None:
    """Behind a proxy that adds the key, only the given headers are sent."""
    urls: Any = {"base_url": emulator.base_url, "socket_url": emulator.socket_url}
    async with AsyncWiro(headers={"X-Team": "blue"}, **urls) as wiro:
        with pytest.raises(AuthenticationError):
            await wiro.run("emulator/sleeper")
    (call,) = emulator.ledger.calls
    assert call.headers["x-team"] == "blue"
    assert "x-api-key" not in call.headers


async def test_constructing_does_no_io() -> None:
    """A process with an audit hook reports no opened file, no socket and no thread."""
    script = """
import sys
from wiro_async import AsyncWiro
seen = []
sys.addaudithook(lambda name, _: seen.append(name))
AsyncWiro("key", "secret").with_options(updates="polling").batch("o/m", [])
print([n for n in seen if n.startswith(("open", "os.", "socket.", "subprocess", "_thread", "import"))])
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().strip() == "[]"


async def test_views_share_connections(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A view runs over the session's own socket and is counted with it."""
    view = wiro.with_options(headers={"x-team": "blue"})
    await asyncio.gather(wiro.run("emulator/sleeper", QUICK), view.run("emulator/sleeper", QUICK))
    assert len(emulator.ledger.sockets) == 1
    assert view.statistics() == wiro.statistics()
    assert {call.headers.get("x-team") for call in emulator.ledger.calls} == {None, "blue"}


async def test_closing_a_view_leaves_the_session_open(wiro: AsyncWiro) -> None:
    """Only the session itself closes everything."""
    async with wiro.with_options(timeout=20):
        pass
    assert (await wiro.run("emulator/sleeper", QUICK)).succeeded


async def test_a_view_ends_with_its_session(emulator: WiroEmulator) -> None:
    """It owns nothing."""
    async with AsyncWiro(**emulator.options()) as wiro:
        view = wiro.with_options(timeout=20)
    with pytest.raises(SessionClosedError):
        await view.run("emulator/sleeper", QUICK)


async def test_a_view_adds_headers(emulator: WiroEmulator) -> None:
    """The session's headers stay, new ones are added, and equal names are replaced."""
    async with AsyncWiro(**emulator.options(), headers={"x-a": "1", "x-b": "1"}) as wiro:
        view = wiro.with_options(headers={"x-b": "2"}).with_options(headers={"x-c": "3"})
        await view.run("emulator/sleeper", QUICK)
    sent = emulator.ledger.calls[0].headers
    assert [sent[f"x-{name}"] for name in "abc"] == ["1", "2", "3"]


async def test_a_view_with_another_way_to_follow(emulator: WiroEmulator, wiro: AsyncWiro, short_timing: Tuning) -> None:
    """A polling view of a session opens no socket."""
    assert (await wiro.with_options(updates="polling").run("emulator/sleeper", QUICK)).succeeded
    assert not emulator.ledger.sockets


async def test_a_view_with_its_own_timeout(wiro: AsyncWiro) -> None:
    """It applies to the view alone."""
    hasty = wiro.with_options(timeout=Timeouts(run=0.2))
    with pytest.raises(TimeoutError):
        await hasty.run("emulator/stuck")
    assert (await wiro.run("emulator/sleeper", {"seconds": 15})).succeeded


async def test_a_view_with_its_own_retries(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """With one attempt, the first fault is raised."""
    emulator.faults.http("Task/Detail", Respond(503, "{}"), times=1)
    with pytest.raises(Exception, match="503"):
        await wiro.with_options(retry=RetryPolicy(attempts=1)).tasks.get("1")


async def test_a_view_with_another_key(
    emulator: WiroEmulator, wiro: AsyncWiro, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key is never signed with a secret of the session or the environment."""
    monkeypatch.setenv("WIRO_API_SECRET", "of-another-project")
    with pytest.raises(AuthenticationError):
        await wiro.with_options(api_key="other").run("emulator/sleeper")
    sent = emulator.ledger.calls[-1].headers
    assert sent["x-api-key"] == "other"
    assert "x-signature" not in sent


async def test_a_view_with_another_secret(emulator: WiroEmulator) -> None:
    """A secret alone is used with the existing key."""
    async with AsyncWiro(**{**emulator.options(), "api_secret": "old"}) as wiro:  # type: ignore[arg-type]
        view = wiro.with_options(api_secret=emulator.api_secret)
        assert (await view.run("emulator/sleeper", QUICK)).succeeded


async def test_a_view_with_a_wrong_setting(wiro: AsyncWiro) -> None:
    """Views are checked like sessions."""
    mode: Any = "telepathy"
    with pytest.raises(ConfigurationError, match="telepathy"):
        wiro.with_options(updates=mode)
    with pytest.raises(ConfigurationError, match="WIRO_API_KEY"):
        wiro.with_options(api_key="bad\n")


async def test_closing_twice(emulator: WiroEmulator) -> None:
    """The second time does nothing, also at the same time as the first."""
    wiro = AsyncWiro(**emulator.options())
    await wiro.run("emulator/sleeper", QUICK)
    await asyncio.gather(wiro.aclose(), wiro.aclose())
    await wiro.aclose()
    assert is_zero(wiro.statistics())


async def test_closing_an_unused_session() -> None:
    """Nothing was opened, so nothing is closed."""
    wiro = AsyncWiro("key")
    await wiro.aclose()
    with pytest.raises(SessionClosedError):
        await wiro.run("owner/model")


@pytest.mark.parametrize(
    "use",
    [
        lambda wiro: wiro.run("emulator/sleeper"),
        lambda wiro: wiro.submit("emulator/sleeper"),
        lambda wiro: wiro.task("token").result(),
        lambda wiro: anext(wiro.task("token").events()),
        lambda wiro: wiro.stream("emulator/writer", {"prompt": "x"}).__aenter__(),
        lambda wiro: wiro.batch("emulator/sleeper", [{}]).__aenter__(),
        lambda wiro: wiro.map("emulator/sleeper", [{}]),
        lambda wiro: wiro.tasks.get("1"),
        lambda wiro: wiro.__aenter__(),
    ],
)
async def test_use_after_closing(emulator: WiroEmulator, use: Any) -> None:
    """Every call says that the session is closed, and none makes a request."""
    async with AsyncWiro(**emulator.options()) as wiro:
        pass
    with pytest.raises(SessionClosedError, match="closed"):
        await use(wiro)
    assert not emulator.ledger.calls


async def test_another_event_loop_is_refused(wiro: AsyncWiro) -> None:
    """A session belongs to one loop. In another one it raises instead of hanging."""

    def elsewhere() -> None:
        asyncio.run(wiro.run("emulator/sleeper"))

    await wiro.run("emulator/sleeper", QUICK)
    with pytest.raises(SessionClosedError, match="event loop"):
        await asyncio.to_thread(elsewhere)


def test_one_loop_after_another(emulator: WiroEmulator) -> None:
    """A second `asyncio.run` works with a new session."""

    async def once() -> bool:
        async with AsyncWiro(**emulator.options()) as wiro:
            return (await wiro.run("emulator/sleeper", QUICK)).succeeded

    assert [asyncio.run(once()) for _ in range(3)] == [True] * 3
    assert len(emulator.ledger.sockets) == 3


async def test_first_used_in_a_task_that_ends(emulator: WiroEmulator) -> None:
    """The task that opens a session may end before it, and need not close it."""
    wiro = AsyncWiro(**emulator.options())
    assert (await asyncio.create_task(wiro.run("emulator/sleeper", QUICK))).succeeded
    assert (await asyncio.create_task(wiro.run("emulator/sleeper", QUICK))).succeeded
    await asyncio.create_task(wiro.aclose())
    assert is_zero(wiro.statistics())


async def test_a_forgotten_session_warns(emulator: WiroEmulator) -> None:
    """A session that is deleted while open warns with its name."""
    wiro = AsyncWiro(**emulator.options())
    await wiro.__aenter__()
    host = next(task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    forgotten = [wiro]
    del wiro
    with pytest.warns(ResourceWarning, match="not closed"):
        forgotten.clear()
    host.cancel()  # as the end of a program does
    await asyncio.wait([host])


async def test_views_and_unused_sessions_do_not_warn(wiro: AsyncWiro) -> None:
    """Only an open session warns. A warning would fail this test."""
    wiro.with_options(timeout=1)
    AsyncWiro("key")
    gc.collect()


async def test_many_tasks_at_once(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """One session serves any number of tasks of its loop, over one socket."""
    results = await asyncio.gather(*(wiro.run("emulator/sleeper", {"seconds": 20, "n": n}) for n in range(60)))
    assert [result.info.parameters["n"] for result in results] == [str(n) for n in range(60)]
    assert len(emulator.ledger.submissions) == 60
    assert len(emulator.ledger.sockets) == 1


async def test_first_uses_at_the_same_time(emulator: WiroEmulator) -> None:
    """Any number of first calls open everything once."""
    wiro = AsyncWiro(**emulator.options())
    await asyncio.gather(*(wiro.run("emulator/sleeper", QUICK) for _ in range(10)))
    assert wiro.statistics().sockets == 1
    await wiro.aclose()


async def test_statistics_count_what_is_held(emulator: WiroEmulator, until: Until) -> None:
    """They count while something runs, and are all zero afterwards."""
    async with AsyncWiro(**emulator.options()) as wiro:
        running = asyncio.create_task(wiro.run("emulator/stuck"))
        await until(lambda: wiro.statistics().watched_tasks and wiro.statistics().sockets)
        held = wiro.statistics()
        assert (held.watched_tasks, held.owned_tasks) == (1, 1)
        assert held.background_tasks > 0
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (wiro.statistics().watched_tasks, wiro.statistics().owned_tasks) == (0, 0)
    assert is_zero(wiro.statistics())


async def test_closing_ends_waits(emulator: WiroEmulator, until: Until) -> None:
    """Closing the session ends the wait for a handle's task with an error."""
    async with AsyncWiro(**emulator.options()) as wiro:
        task = await wiro.submit("emulator/stuck")
        waiting = asyncio.create_task(task.result())
        await until(lambda: wiro.statistics().watched_tasks)
    with pytest.raises(SessionClosedError) as caught:
        await waiting
    assert (caught.value.task_id, caught.value.token) == (task.id, task.token)


async def test_a_custom_transport(emulator: WiroEmulator) -> None:
    """Any httpx transport works, and is closed with the session."""
    closed: list[bool] = []

    class Own(httpx.AsyncHTTPTransport):
        async def aclose(self) -> None:
            closed.append(True)
            await super().aclose()

    async with AsyncWiro(**emulator.options(), transport=Own()) as wiro:
        result = await wiro.run("emulator/painter", {"prompt": "a fox", "width": 16, "height": 16, "seconds": 0.5})
        assert (await result.output.read()).startswith(b"\x89PNG")
    assert closed == [True]


async def test_task_needs_a_reference(wiro: AsyncWiro) -> None:
    """A call without a token and an id raises."""
    with pytest.raises(InvalidInputError, match="task_id"):
        wiro.task()


async def test_digits_given_as_a_token_are_an_id(wiro: AsyncWiro) -> None:
    """No token consists of digits only, but people copy ids from the dashboard."""
    made = await wiro.submit("emulator/sleeper", QUICK)
    by_id = wiro.task(made.id)
    assert (by_id.id, by_id.token) == (made.id, None)
    assert (await by_id.result()).succeeded


@pytest.mark.parametrize("call", ["run", "submit", "stream", "realtime", "batch", "map", "with_options"])
async def test_an_unknown_option_is_refused(emulator: WiroEmulator, wiro: AsyncWiro, call: str) -> None:
    """The error suggests a similar name."""
    arguments = [] if call == "with_options" else ["emulator/sleeper", [] if call in ("batch", "map") else {}]

    async def called() -> None:
        await getattr(wiro, call)(*arguments, **{"project_ix" if call == "submit" else "timout": 3})

    with pytest.raises((TypeError, ConfigurationError), match=rf"{call}\(\) has no option '\w+'; did you mean '\w+'\?"):
        await called()
    with pytest.raises(TypeError, match="did you mean 'max_concurrency'"):
        AsyncWiro(max_concurency=3)  # type: ignore[call-arg]
    assert not emulator.ledger.calls


@pytest.mark.parametrize("call", ["run", "submit", "stream", "realtime", "batch", "map", "with_options"])
def test_help_shows_every_option(call: str) -> None:
    """The documentation of an option is written once and shown wherever the option is accepted."""
    function = getattr(AsyncWiro, call)
    options = function.__annotations__["options"].removeprefix("Unpack[").removesuffix("]")
    names = vars(sys.modules[AsyncWiro.run.__module__])[options].__annotations__
    documented = re.findall(r"^    ([a-z_, ]+): ", inspect.getdoc(function) or "", re.MULTILINE)
    assert set(names) <= {name for line in documented for name in line.split(", ")}


def test_help_shows_every_option_of_a_session() -> None:
    """Those that a view may change, and the others."""
    documented = re.findall(r"^    ([a-z_, ]+): ", AsyncWiro.__doc__ or "", re.MULTILINE)
    names = {*CallOptions.__annotations__, *SessionOptions.__annotations__}
    assert names <= {name for line in documented for name in line.split(", ")}


def test_the_checked_options_are_the_declared_ones() -> None:
    """Each option that is declared for callers is checked, and no other."""
    view = {field.name for field in attrs.fields(Options)} - {"credentials"}
    shared = {field.name for field in attrs.fields(SharedOptions)}
    assert view == set(CallOptions.__annotations__)
    assert view | shared == set(SessionOptions.__annotations__)
    assert set(ViewOptions.__annotations__) == view | {"api_key", "api_secret"}
