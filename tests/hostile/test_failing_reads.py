"""A read that fails in the same way again and again is logged once, and the timeout that it causes names it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from wiro_async import (
    APIError,
    AsyncWiro,
    DecodingError,
    NotFoundError,
    RetryPolicy,
    TaskTimeoutError,
    Timeouts,
    TransportError,
    Tuning,
    WiroError,
)

if TYPE_CHECKING:
    from tests.hostile.conftest import Peer, RawWiro, Route

QUICK = Tuning(
    poll_first=0.02,
    poll_min=0.02,
    poll_max=0.05,
    poll_silence=0.03,
    poll_max_silence=0.05,
    socket_close=0.02,
    failing_warning=0.2,
    stop_wait=0.05,
    stop_request=0.05,
)
Following: TypeAlias = Callable[[AsyncWiro], Awaitable[object]]


async def undecodable(peer: Peer) -> None:
    """Break off within the answer."""
    await peer.respond(b'{"result":true,"tasklist":[{"id":"10')


async def page(peer: Peer) -> None:
    """Answer as a proxy does."""
    await peer.respond(b"<html>502</html>", status="502 Bad Gateway")


async def unknown(peer: Peer) -> None:
    """Know no such task."""
    await peer.respond_json({"result": False, "errors": [{"code": 1, "message": "task-not-exist"}]})


async def unlisted(peer: Peer) -> None:
    """List nothing."""
    await peer.respond_json({"result": True, "errors": [], "tasklist": []})


async def hang_up(peer: Peer) -> None:
    """Close the connection."""
    peer.reset()


async def run(wiro: AsyncWiro) -> object:
    """Run a model."""
    return await wiro.run("owner/model", {"prompt": "x"}, timeout=0.6)


async def stream(wiro: AsyncWiro) -> object:
    """Read a run's text."""
    async with wiro.stream("owner/model", {"prompt": "x"}, timeout=0.6) as texts:
        return [delta async for delta in texts]


async def handle(wiro: AsyncWiro) -> object:
    """Wait by a handle."""
    task = await wiro.submit("owner/model", {"prompt": "x"})
    return await task.result(timeout=0.6)


async def token(wiro: AsyncWiro) -> object:
    """Wait for a task of another process."""
    return await wiro.task("token-of-another-process").result(timeout=0.6)


async def events(wiro: AsyncWiro) -> object:
    """Read events."""
    task = await wiro.submit("owner/model", {"prompt": "x"})
    wiro = wiro.with_options(timeout=Timeouts(run=0.6))
    async with wiro.task(str(task.token)).events() as found:
        return [event async for event in found]


async def idle(wiro: AsyncWiro) -> object:
    """Run with an idle timeout."""
    return await wiro.run("owner/model", {"prompt": "x"}, timeout=Timeouts(idle=0.6))


async def batch(wiro: AsyncWiro) -> None:
    """Run a batch of one."""
    async with wiro.batch("owner/model", [{"prompt": "x"}], timeout=0.6) as items:
        async for item in items:
            assert item.error is not None
            raise item.error


@pytest.mark.parametrize("follow", [run, stream, handle, token, events, idle, batch])
@pytest.mark.parametrize("updates", ["websocket", "polling", "sse"])
async def test_each_way_of_following(
    raw: RawWiro, caplog: pytest.LogCaptureFixture, follow: Following, updates: Any
) -> None:
    """The log has one warning, and the error the reason."""
    error = await timed_out(raw, undecodable, follow, updates, caplog)
    assert isinstance(error.last_error, DecodingError)
    assert error.__cause__ is error.last_error
    assert "its state could not be read (HTTP 200 came with" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), type(again.last_error)) == (str(error), DecodingError)


@pytest.mark.parametrize(
    "route, kind",
    [
        (undecodable, DecodingError),
        (page, WiroError),
        (unknown, NotFoundError),
        (unlisted, NotFoundError),
        (hang_up, TransportError),
    ],
)
@pytest.mark.parametrize("attempts", [1, 30])
async def test_each_kind_of_failure(
    raw: RawWiro, caplog: pytest.LogCaptureFixture, route: Route, kind: type[WiroError], attempts: int
) -> None:
    """Also while the attempts of a single read go on."""
    error = await timed_out(raw, route, run, "polling", caplog, RetryPolicy(attempts, 0.02, 0.05))
    assert isinstance(error.last_error, kind)


async def timed_out(
    raw: RawWiro,
    route: Route,
    follow: Following,
    updates: Any,
    caplog: pytest.LogCaptureFixture,
    retry: RetryPolicy | None = None,
) -> TaskTimeoutError:
    """Follow a task that cannot be read."""
    raw.routes["Task/Detail"] = route
    caplog.set_level(logging.WARNING, "wiro_async")
    async with AsyncWiro(**raw.options(), updates=updates, tuning=QUICK, retry=retry or RetryPolicy(1)) as wiro:
        with pytest.raises(TaskTimeoutError) as caught:
            await follow(wiro)
    warnings = [text for text in caplog.messages if "could not be read" in text]
    assert len(warnings) == 1
    assert "token-" not in warnings[0] + str(caught.value)
    return caught.value


async def test_reads_that_work_again(raw: RawWiro, caplog: pytest.LogCaptureFixture) -> None:
    """A later timeout blames no read that failed before."""
    raw.make_task("owner/model", {}, status="task_start")
    calls = 0

    async def fail_at_first(peer: Peer) -> None:
        nonlocal calls
        calls += 1
        await (undecodable(peer) if calls < 5 else raw.answer(peer))

    raw.routes["Task/Detail"] = fail_at_first
    async with AsyncWiro(**raw.options(), updates="polling", tuning=QUICK, retry=RetryPolicy(1)) as wiro:
        with pytest.raises(TaskTimeoutError) as caught:
            await wiro.task("token-1000").result(timeout=0.6)
    assert caught.value.last_error is None
    assert "could not be read" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, APIError)
