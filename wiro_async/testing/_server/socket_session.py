"""One WebSocket connection: registrations and audio in, messages and audio out."""

import asyncio
import time
from collections.abc import Callable, Sequence

import attrs
from starlette.responses import Response
from starlette.websockets import WebSocket

from wiro_async.testing._faults.socket_faults import Forward, Outgoing, RefuseUpgrade, SocketFault
from wiro_async.testing._json import decode
from wiro_async.testing._records import SocketRecord
from wiro_async.testing._server.uvicorn_server import SocketConnection
from wiro_async.testing._service.emulated_task import EmulatedTask, Listener, TaskMessage
from wiro_async.testing._service.service import Service
from wiro_async.testing._service.socket_messages import WELCOME
from wiro_async.testing._service.voice_session import PlayedSession

PATH = "/socket/v1"
READY = "task_stream_ready"


async def serve_socket(service: Service, socket: WebSocket) -> None:
    """Serve a connection from its handshake to its end."""
    faults = service.faults.draw_socket()
    connection: SocketConnection = socket.scope["state"]["connection"]
    refusal = next((fault for fault in faults if isinstance(fault, RefuseUpgrade)), None)
    if refusal or socket.url.path != PATH:
        await socket.send_denial_response(Response(status_code=refusal.status if refusal else 404))
        connection.complete_handshake()
        return
    await socket.accept()
    record = SocketRecord(time.time(), dict(socket.headers))
    service.ledger.sockets.append(record)
    session = SocketSession(service, connection, record, faults)
    try:
        session.forward(Outgoing(WELCOME.type, WELCOME.payload))
        await session.receive(socket)
    finally:
        session.end()
        record.close()


@attrs.define(eq=False)
class SocketSession:
    """An open connection and the tasks that it has registered."""

    service: Service
    connection: SocketConnection
    record: SocketRecord
    faults: Sequence[SocketFault]
    forward: Forward = attrs.field(init=False)  # sends a message, through all faults of the connection
    _tasks: dict[str, tuple[EmulatedTask, Listener]] = attrs.field(
        factory=dict[str, tuple[EmulatedTask, Listener]], init=False
    )
    _voices: dict[str, PlayedSession] = attrs.field(factory=dict[str, PlayedSession], init=False)

    def __attrs_post_init__(self) -> None:
        self.forward = self._send
        for fault in reversed(self.faults):
            self.forward = fault.wrap(self, self.forward)

    async def receive(self, socket: WebSocket) -> None:
        """Handle the client's messages until it disconnects. Messages that make no sense are ignored."""
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is not None:
                self._take_text(text)
            else:
                self._take_audio(message["bytes"])
                await self.connection.writable.wait()  # backpressure: a client that does not read cannot send

    def end(self) -> None:
        """Stop listening to all tasks, and end the realtime sessions."""
        for task, listener in self._tasks.values():
            task.unlisten(listener)
        for voice in self._voices.values():
            voice.end()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, action)

    def drop(self) -> None:
        self.connection.hang_up(reset=False)

    def close(self) -> None:
        self.connection.start_close()

    def freeze(self) -> None:
        self.connection.freeze()

    def _take_text(self, text: str) -> None:
        try:
            body = decode(text)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        token = str(body.get("tasktoken", ""))
        voice = self._voices.get(token)
        self.record.asked.append(str(body.get("type")))
        if body.get("type") == "task_info":
            self._register(token)
        elif voice and body.get("type") == "task_session_interrupt":
            voice.interrupt()
        elif voice and body.get("type") == "task_session_end":
            voice.end()

    def _take_audio(self, frame: bytes) -> None:
        token, bar, pcm = frame.partition(b"|")
        if bar and (voice := self._voices.get(token.decode(errors="replace"))):
            self.record.heard.append(len(pcm))
            voice.hear(pcm)

    def _register(self, token: str) -> None:
        ordinal = self.record.register(token)
        task = self.service.find(token=token)
        if task is None or task.over or token in self._tasks:
            return
        voice = self._start_voice(task, ordinal) if task.script.realtime else None

        def listener(message: TaskMessage) -> None:
            self.forward(Outgoing(message.type, message.payload, message.over, ordinal))
            if voice is not None and message.type == READY:
                voice.begin()
            if message.over:
                self._tasks.pop(token, None)

        self._tasks[token] = task, listener
        task.listen(listener)

    def _start_voice(self, task: EmulatedTask, ordinal: int) -> PlayedSession:
        prefix = f"{task.token}|".encode()

        def say(pcm: bytes) -> None:
            self.forward(Outgoing("audio", prefix + pcm, ordinal=ordinal, binary=True))

        voice = self._voices[task.token] = PlayedSession(self.service.player(task), say)
        if any(status == READY for _, status in task.history):
            # The session was ready before its client registered. The listener must be in place first.
            asyncio.get_running_loop().call_soon(voice.begin)
        return voice

    def _send(self, message: Outgoing) -> None:
        self.record.count_message()
        self.connection.push(message.payload, binary=message.binary)
