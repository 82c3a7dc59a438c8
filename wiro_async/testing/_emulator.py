"""`WiroEmulator`: the service on a loopback port, in its own thread."""

import asyncio
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from decimal import Decimal
from types import TracebackType
from typing import Literal, NotRequired, Self, TypedDict

import anyio
import uvicorn

from wiro_async._transport import threads
from wiro_async._tuning import Tuning
from wiro_async.testing._catalogue.standard import STANDARD
from wiro_async.testing._faults.switches import Faults
from wiro_async.testing._scripts import ModelScript
from wiro_async.testing._server.app import App
from wiro_async.testing._server.socket_session import PATH
from wiro_async.testing._server.uvicorn_server import HttpConnection, Server, SocketConnection
from wiro_async.testing._service.ledger import Ledger
from wiro_async.testing._service.service import Service


class ConnectionOptions(TypedDict):
    """The keyword arguments that connect an `AsyncWiro` to an emulator."""

    api_key: str
    api_secret: str | None
    base_url: str
    socket_url: str
    tuning: NotRequired[Tuning]


class WiroEmulator:
    """A Wiro service on loopback: HTTP, server-sent events and WebSocket, with scripted models and faults.

    Use it with `with` or `async with`. It runs in its own thread, so one emulator serves any number of event loops.

    Args:
        models: added to the standard models. A model with the slug of a standard one replaces it.
        api_key: the accepted key.
        api_secret: the secret that signs requests. With None, the key is enough.
        balance: US dollars at the start. The account may run a tenth of that number of tasks at a time; there is no
            limit above 250 dollars.
        speed: runs are this many times as fast as in production.
        generation: the generation of socket messages: "older", "newer", or "mixed" (tasks alternate).
        host: the address to listen on.
        port: the port to listen on. 0 takes a free port.
        tuning: the timing of sessions that connect with `options()`, for tests that cannot wait.

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(
        self,
        *,
        models: Iterable[ModelScript] | None = None,
        api_key: str = "emulator-key",
        api_secret: str | None = "emulator-secret",
        balance: Decimal = Decimal(1000),
        speed: float = 1.0,
        generation: Literal["mixed", "older", "newer"] = "mixed",
        host: str = "127.0.0.1",
        port: int = 0,
        tuning: Tuning | None = None,
    ) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed is {speed!r}; pass a number above 0, such as 20 for twenty times the speed")
        if generation not in ("mixed", "older", "newer"):
            raise ValueError(f"generation is {generation!r}; pass 'mixed', 'older' or 'newer'")
        self.api_key = api_key
        self.api_secret = api_secret
        self.tuning = tuning
        self._host = host
        self._port = port
        scripts = {model.slug: model for model in (*STANDARD, *(models or ()))}
        self._service = Service(scripts, api_key, api_secret, balance, speed, generation)
        self._thread: threading.Thread | None = None
        self._stop: Future[tuple[asyncio.AbstractEventLoop, Server]] = Future()

    @property
    def base_url(self) -> str:
        """The URL of the HTTP API, once started."""
        return f"http://{self._host}:{self._port}/v1"

    @property
    def socket_url(self) -> str:
        """The URL of the WebSocket, once started."""
        return f"ws://{self._host}:{self._port}{PATH}"

    @property
    def balance(self) -> Decimal:
        """The money left."""
        return self._service.balance

    @property
    def ledger(self) -> Ledger:
        """Everything that the emulator received."""
        return self._service.ledger

    @property
    def faults(self) -> Faults:
        """The switches for faults."""
        return self._service.faults

    def options(self) -> ConnectionOptions:
        """Return the keyword arguments that connect an `AsyncWiro`."""
        options: ConnectionOptions = {
            "api_key": self.api_key,
            "api_secret": self.api_secret,
            "base_url": self.base_url,
            "socket_url": self.socket_url,
        }
        if self.tuning is not None:
            options["tuning"] = self.tuning
        return options

    def start(self) -> None:
        """Open the port and serve. Returns when the emulator is ready, after some milliseconds."""
        plain = socket.create_server((self._host, self._port), backlog=2048)
        # asyncio turns off Nagle's algorithm (40 ms a response) only for sockets that are marked as TCP.
        listener = socket.socket(plain.family, plain.type, socket.IPPROTO_TCP, plain.detach())
        self._port = listener.getsockname()[1]
        self._service.files.serve_at(self.base_url)
        self._stop = Future()
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="wiro-emulator", daemon=True)
        self._thread.start()
        self._stop.result()

    def stop(self) -> None:
        """Close all connections and end the thread. Does nothing if not started."""
        if self._thread is None:
            return
        loop, server = self._stop.result()
        loop.call_soon_threadsafe(server.stop.set)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await threads.run(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await threads.run(self.stop)

    def _serve(self, listener: socket.socket) -> None:
        config = uvicorn.Config(
            App(self._service),
            http=HttpConnection,
            ws=SocketConnection,
            ws_max_size=64 * 2**20,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=60,
        )
        with asyncio.Runner() as runner:
            server = Server(config, lambda: self._stop.set_result((runner.get_loop(), server)))
            try:
                runner.run(server.serve([listener]))
            finally:
                self._service.close()
