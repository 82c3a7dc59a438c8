"""Invalid settings, and views."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import attrs
import pytest

from wiro_async import AsyncWiro, ConfigurationError, InvalidInputError, RunRequest
from wiro_async._api.session_options import Options, credentials
from wiro_async.testing import WiroEmulator


@pytest.mark.parametrize(
    "setting",
    [
        {"max_concurrency": 0},
        {"max_concurrency": "3"},
        {"max_concurrency": 1.5},
        {"tasks_per_socket": 0},
        {"polls_per_second": 0},
        {"polls_per_second": float("nan")},
        {"max_download_bytes": -1},
        {"retry": 3},
        {"timeout": "5"},
        {"headers": {"a": 1}},
        {"api_key": 3},
        {"base_url": 3},
        {"base_url": "https://h.test/v1?key=SECRET"},
        {"socket_url": "wss://h.test/v1#x"},
        {"updates": "telepathy"},
        {"validate": "maybe"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_wrong_settings_are_refused_by_name(setting: dict[str, Any]) -> None:
    """At once, before any cost. Secrets in them are not shown."""
    (name,) = setting
    new: Any = AsyncWiro
    with pytest.raises(ConfigurationError, match=r"(?i)" + name[:4]) as caught:
        new(**{"api_key": "key", **setting})
    assert "SECRET" not in repr(caught.value)


@pytest.mark.parametrize("change", [{"on_unknown": "x"}, {"retry": 3}, {"timeout": -1}, {"colour": "red"}])
def test_views_are_as_strict(change: dict[str, Any]) -> None:
    """A view's settings are checked like a session's."""
    with pytest.raises(ConfigurationError):
        AsyncWiro("key").with_options(**change)


def test_a_view_changes_only_its_options() -> None:
    """All other options are those of the session."""
    session = Options(credentials=credentials("key", None, has_headers=True), headers={"a": "1"}, max_download_bytes=5)
    view = session.changed({"headers": {"b": "2"}, "max_download_bytes": 6, "timeout": 3, "api_key": None})
    assert view == attrs.evolve(
        session, headers={"a": "1", "b": "2"}, max_download_bytes=6, timeout=attrs.evolve(session.timeout, run=3)
    )


async def test_a_view_that_is_entered_alone_closes_its_session(emulator: WiroEmulator) -> None:
    """No other object could close it."""
    async with AsyncWiro(**emulator.options()).with_options(timeout=30) as view:
        await view.run("emulator/sleeper", {"seconds": 1})
    assert not any(attrs.astuple(view.statistics()))


async def test_a_view_of_an_open_session_leaves_it_open(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It may be entered for the sake of its block."""
    async with wiro.with_options(timeout=30) as view:
        await view.run("emulator/sleeper", {"seconds": 1})
    assert (await wiro.run("emulator/sleeper", {"seconds": 1})).succeeded


async def test_a_forgotten_session_of_a_view_warns(emulator: WiroEmulator) -> None:
    """The view keeps its session. The session warns when both are deleted."""
    view = AsyncWiro(**emulator.options()).with_options(timeout=30)
    await view.__aenter__()
    host = next(task for task in asyncio.all_tasks() if task.get_name() == "wiro_async session")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del view
        gc.collect()
    assert ["was not closed" in str(warning.message) for warning in warned if warning.category is ResourceWarning] == [
        True
    ]
    host.cancel()  # as the end of a program does
    await asyncio.wait([host])


def test_inputs_beside_requests_are_refused() -> None:
    """They would be ignored."""
    batch: Any = AsyncWiro("key").batch
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both: list[tuple[object, ...]] = [([RunRequest("a/b")], [{}]), ("a/b",)]
        for arguments in both:
            with pytest.raises(InvalidInputError, match="inputs"):
                batch(*arguments)


async def test_settings_of_one_call_are_checked(wiro: AsyncWiro, emulator: WiroEmulator) -> None:
    """Only "leave" means "leave"."""
    wrong: Any = "Leave"
    for call in (wiro.run, wiro.stream):
        with pytest.raises(InvalidInputError, match="on_cancel"):
            await call("emulator/sleeper", on_cancel=wrong)  # type: ignore[misc]
    assert not emulator.ledger.calls
