"""The example web app behind a real server, and Chromium to show it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from wiro_async.testing import WiroEmulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "web_app.py"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
Serving: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def example() -> ModuleType:
    """The example as a module."""
    spec = spec_from_file_location("web_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["web_app"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serving(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Serve the app with models of an emulator: `async with serving(emulator) as url`."""

    @asynccontextmanager
    async def serving(
        emulator: WiroEmulator, text: str = "emulator/writer", picture: str = "emulator/painter"
    ) -> AsyncGenerator[str]:
        monkeypatch.setenv("WIRO_API_KEY", emulator.api_key)
        monkeypatch.setenv("WIRO_API_SECRET", emulator.api_secret or "")
        monkeypatch.setenv("WIRO_API_BASE_URL", emulator.base_url)
        monkeypatch.setenv("WIRO_SOCKET_URL", emulator.socket_url)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(example.create_app(text, picture), log_level="critical", timeout_graceful_shutdown=3)
        server = uvicorn.Server(config)
        serve = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serve
            listening.close()

    return serving


@pytest.fixture
def slow_emulator() -> Iterator[WiroEmulator]:
    """An emulator whose runs are slow enough to observe on a busy machine."""
    with WiroEmulator(speed=1.5) as emulator:
        yield emulator


@attrs.define
class Tab:
    """One page of the browser. https://chromedevtools.github.io/devtools-protocol/

    Attributes:
        said: messages of the console.
    """

    _connection: ClientConnection
    _session: str = ""
    _target: str = ""
    _sent: int = 0
    said: list[str] = attrs.field(factory=list[str])

    async def open(self, width: int, height: int) -> None:
        """Open an empty page."""
        self._target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.call("Target.attachToTarget", targetId=self._target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.resize(width, height)

    @property
    def is_open(self) -> bool:
        """Whether the page was opened and not closed."""
        return bool(self._session)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send one command and return its result."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        await self._connection.send(json.dumps({**message, "sessionId": self._session} if self._session else message))
        while True:
            answer = json.loads(await self._connection.recv())
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            if answer["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(str(answer["params"]))

    async def resize(self, width: int, height: int) -> None:
        """Change the size, in pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def scheme(self, name: str) -> None:
        """Select the dark or the light colour scheme."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    async def goto(self, url: str) -> None:
        """Load a page."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    async def js(self, expression: str) -> Any:
        """Evaluate an expression in the page and return its value."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression holds."""
        deadline = time.monotonic() + seconds
        while not await self.js(expression):
            assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
            await asyncio.sleep(0.02)

    async def ask(self, prompt: str) -> None:
        """Type a question and press Enter."""
        await self.js("document.querySelector('textarea').focus()")
        await self.call("Input.insertText", text=prompt)
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)

    async def click(self, selector: str) -> None:
        """Click on the element that a selector finds."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = await self.js(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def close(self) -> None:
        """Close the page."""
        target, self._session = self._target, ""
        await self.call("Target.closeTarget", targetId=target)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A headless Chromium. Yields the URL of its DevTools."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: the app is only tested without a browser")
    profile = tmp_path_factory.mktemp("profile")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--no-proxy-server",
    ]
    command = [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield _devtools(profile / "DevToolsActivePort", running)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _devtools(port_file: Path, running: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while not (port_file.is_file() and len(port_file.read_text().split()) == 2):
        assert running.poll() is None, "Chromium ended at once"
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    port, path = port_file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"


@pytest.fixture
def browsing(chromium: str) -> Callable[[], AbstractAsyncContextManager[Tab]]:
    """Open a page: `async with browsing() as tab`. It is closed at the end."""

    @asynccontextmanager
    async def browsing(width: int = 1280, height: int = 900) -> AsyncGenerator[Tab]:
        async with connect(chromium, proxy=None, max_size=None, compression=None) as connection:
            tab = Tab(connection)
            await tab.open(width, height)
            yield tab
            if tab.is_open:
                await tab.close()

    return browsing
