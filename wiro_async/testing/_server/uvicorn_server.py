"""uvicorn, with connections that can be cut, frozen, and written to without an asyncio task for each."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.protocol import State

ACCEPTING = 3  # iterations of the loop after which an accepted connection is known to the server
NO_LINGER = struct.pack("ii", 1, 0)


def _hang_up(transport: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()
    else:
        transport.close()


class HttpConnection(H11Protocol):
    """An HTTP connection that passes itself to the application in `scope["state"]`."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {"connection": self}, _loop)

    def hang_up(self, *, reset: bool) -> None:
        """Close the connection, with a TCP reset if asked."""
        _hang_up(self.transport, reset=reset)


class SocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket connection that timers can write to, and that can be frozen."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {"connection": self}, _loop)
        self._frozen = False
        self._flushing = False

    def complete_handshake(self) -> None:
        """Mark a refused handshake as complete. uvicorn would report it on the standard error otherwise."""
        self.handshake_complete = True

    def freeze(self) -> None:
        """Never read or write again, but stay open."""
        self._frozen = True

    def data_received(self, data: bytes) -> None:
        if not self._frozen:
            super().data_received(data)

    def push(self, payload: bytes, *, binary: bool = False) -> None:
        """Send a message if the connection is open. Messages of one iteration of the loop leave together."""
        if self._frozen or self.conn.state is not State.OPEN or self.transport.is_closing():
            return
        if binary:
            self.conn.send_binary(payload)
        else:
            self.conn.send_text(payload)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self.transport.write(b"".join(self.conn.data_to_send()))

    def hang_up(self, *, reset: bool) -> None:
        """Send what was pushed, then close the connection without a closing handshake."""
        self._flush()
        _hang_up(self.transport, reset=reset)

    def start_close(self, code: int = 1000) -> None:
        if not self._frozen and self.conn.state is State.OPEN:
            self.conn.send_close(code)
            self._flush()


class Server(uvicorn.Server):
    """uvicorn's server, which stops at once when asked instead of polling a flag."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()  # set it to stop the server
        self._on_ready = on_ready

    async def main_loop(self) -> None:
        self._on_ready()
        await self.stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything without waiting for clients."""
        await self._stop_accepting()
        for connection in list(self.server_state.connections):
            if isinstance(connection, SocketConnection):
                connection.start_close(1012)
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_accepting(self) -> None:
        """Close the listeners. Wait first until accepted connections are known: asyncio would lose them."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                with suppress(NotImplementedError):
                    loop.remove_reader(listener.fileno())
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
