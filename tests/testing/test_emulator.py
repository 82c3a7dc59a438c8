"""Starting, stopping, connecting."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError

import wiro_async.testing
from wiro_async.testing import Delay, WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("wiro-emulator")]


def test_options() -> None:
    """Options for a session, with a new port for each emulator."""
    with WiroEmulator(api_key="k", api_secret="s") as one, WiroEmulator() as other:
        assert one.options() == {
            "api_key": "k",
            "api_secret": "s",
            "base_url": one.base_url,
            "socket_url": one.socket_url,
        }
        assert one.base_url != other.base_url
        assert one.socket_url.startswith("ws://127.0.0.1:")
        assert len(_threads()) == 2
    assert _threads() == []


@pytest.mark.parametrize("setting", [{"speed": 0}, {"speed": -1}, {"speed": float("nan")}, {"generation": "x"}])
def test_wrong_settings(setting: dict[str, Any]) -> None:
    """The constructor refuses them."""
    (name,) = setting
    with pytest.raises(ValueError, match=name):
        WiroEmulator(**setting)


def test_it_outlives_event_loops() -> None:
    """One emulator serves several `asyncio.run` calls."""

    async def ask(url: str) -> int:
        async with httpx.AsyncClient(verify=False, trust_env=False, headers={"user-agent": "x"}) as http:
            return (await http.post(f"{url}/Tool/Explore")).status_code

    with WiroEmulator() as emulator:
        assert [asyncio.run(ask(emulator.base_url)) for _ in range(2)] == [200, 200]


async def test_async_entry_does_not_block() -> None:
    """The loop is not blocked while the emulator starts and stops, even when cancelled."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    with contextlib.suppress(asyncio.CancelledError):
        async with WiroEmulator() as emulator:
            assert emulator.base_url
            raise asyncio.CancelledError
    ticking.cancel()
    assert ticks > 2
    assert _threads() == []


async def test_stopping_closes_everything_at_once(api: "Api", caplog: pytest.LogCaptureFixture) -> None:
    """Open sockets, hanging requests and running tasks do not delay the stop or cause errors."""
    with WiroEmulator(api_secret=None) as emulator:
        one = type(api)(emulator, api.http)
        emulator.faults.http("Tool/Explore", Delay(60))
        hanging = asyncio.create_task(one.send("Tool/Explore"))
        waiting = asyncio.create_task(one.send("Run/emulator/stuck/sync"))
        streaming = asyncio.create_task(one.send("Run/emulator/stuck/sync?stream=true"))
        async with one.socket() as connection:
            await connection.recv()
            await one.until(lambda: emulator.ledger.count() == 3)
            began = time.perf_counter()
            emulator.stop()
            assert time.perf_counter() - began < 0.5
            with pytest.raises(ConnectionClosedError, match="1012"):
                await connection.recv()
        for request in (hanging, waiting, streaming):
            with pytest.raises(httpx.TransportError):
                await request
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_port_in_use_is_reported() -> None:
    """Starting fails if the port is in use. Stopping an emulator that never ran does nothing."""
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        emulator = WiroEmulator(port=occupied.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            emulator.start()
        emulator.stop()


def test_it_starts_again() -> None:
    """A restarted emulator keeps its port, ledger and balance."""
    emulator = WiroEmulator()
    urls: list[str] = []
    for _ in range(2):
        with emulator:
            httpx.post(f"{emulator.base_url}/Tool/Explore", headers={"user-agent": "x"}, verify=False)
            urls.append(emulator.base_url)
    assert urls[0] == urls[1]
    assert emulator.ledger.count("Tool/*") == 2


async def test_invalid_http(emulator: WiroEmulator, capfd: pytest.CaptureFixture[str]) -> None:
    """Invalid HTTP gets a 400 response, and nothing is logged."""
    port = int(emulator.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"NONSENSE\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    assert capfd.readouterr() == ("", "")


async def test_a_client_that_disconnects_during_its_request(api: "Api", emulator: WiroEmulator) -> None:
    """A request with half a body is recorded and makes no task."""
    port = int(emulator.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/Run/emulator/sleeper HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    await writer.drain()
    writer.close()
    await api.until(lambda: emulator.ledger.count() == 1)
    assert emulator.ledger.submissions == []


def test_names_are_imported_when_used() -> None:
    """Names are imported at first use. A missing dependency is an error that names the extra."""
    code = (
        "import sys, wiro_async.testing as t; assert not {'starlette', 'uvicorn'} & set(sys.modules)\n"
        "sys.modules['starlette'] = None\n"
        "try: t.WiroEmulator\n"
        "except ModuleNotFoundError as error: assert 'wiro-async[emulator]' in str(error)\n"
        "else: raise SystemExit('imported')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(hasattr(wiro_async.testing, name) for name in wiro_async.testing.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = wiro_async.testing.Nothing
