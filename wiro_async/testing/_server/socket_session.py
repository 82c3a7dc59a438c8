"""One WebSocket connection: registrations in, task messages out."""

import asyncio
import time
from collections.abc import Callable

import attrs
import orjson
from starlette.responses import Response
from starlette.websockets import WebSocket

from wiro_async.testing._faults.socket_faults import Forward, Outgoing, RefuseUpgrade
from wiro_async.testing._records import Json, SocketRecord
from wiro_async.testing._server.uvicorn_server import SocketConnection
from wiro_async.testing._service.emulated_task import EmulatedTask, TaskMessage
from wiro_async.testing._service.service import Service
from wiro_async.testing._service.socket_messages import WELCOME
from wiro_async.testing._service.voice_session import VoiceSession

PATH = "/socket/v1"
READY = "task_stream_ready"


async def serve_socket(service: Service, socket: WebSocket) -> None:
    """Serve a connection from its handshake to its end."""
    faults = service.faults.draw_socket()
    refusal = next((fault for fault in faults if isinstance(fault, RefuseUpgrade)), None)
    if refusal or socket.url.path != PATH:
        await socket.send_denial_response(Response(status_code=refusal.status if refusal else 404))
        connection: SocketConnection = socket.scope["state"]["connection"]
        connection.handshake_complete = True  # uvicorn would complain of it on the standard error
        return
    await socket.accept()
    record = SocketRecord(time.time(), dict(socket.headers))
    service.ledger.sockets.append(record)
    line = SocketLine(service, socket.scope["state"]["connection"], record)
    for fault in reversed(faults):
        line.forward = fault.wrap(line, line.forward)
    try:
        line.forward(Outgoing(WELCOME.type, WELCOME.payload))
        await line.listen(socket)
    finally:
        line.forget()
        record.closed_at = time.time()


@attrs.define(eq=False)
class SocketLine:
    """An open connection and the tasks it has registered."""

    service: Service
    connection: SocketConnection
    record: SocketRecord
    forward: Forward = attrs.field(init=False)
    _tasks: dict[str, EmulatedTask] = attrs.field(factory=dict[str, EmulatedTask], init=False)
    _sessions: dict[str, VoiceSession] = attrs.field(factory=dict[str, VoiceSession], init=False)

    def __attrs_post_init__(self) -> None:
        self.forward = self._send

    async def listen(self, socket: WebSocket) -> None:
        """Take what the client says until it is gone; whatever is not understood is ignored."""
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is not None:
                self._take(text)
            else:
                self._hear(message["bytes"])
                await self.connection.writable.wait()  # who does not read is not listened to

    def forget(self) -> None:
        """Stop watching all tasks."""
        for task in self._tasks.values():
            task.watchers.pop(self, None)
        for session in self._sessions.values():
            session.end()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after real seconds."""
        asyncio.get_running_loop().call_later(seconds, action)

    def drop(self) -> None:
        """Close abruptly, without a closing handshake."""
        self.connection.hang_up(reset=False)

    def close(self) -> None:
        """Close politely."""
        self.connection.say_goodbye()

    def freeze(self) -> None:
        """Never read or write again, yet stay open."""
        self.connection.frozen = True

    def _take(self, text: str) -> None:
        try:
            body: Json = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        if not isinstance(body, dict):
            return
        token = str(body.get("tasktoken", ""))
        session = self._sessions.get(token)
        self.record.asked.append(str(body.get("type")))
        if body.get("type") == "task_info":
            self._register(token)
        elif session and body.get("type") == "task_session_interrupt":
            session.interrupt()
        elif session and body.get("type") == "task_session_end":
            session.end()

    def _hear(self, frame: bytes) -> None:
        token, bar, pcm = frame.partition(b"|")
        if bar and (session := self._sessions.get(token.decode(errors="replace"))):
            self.record.heard.append(len(pcm))
            session.hear(pcm)

    def _register(self, token: str) -> None:
        if token not in self.record.tokens:
            self.record.tokens.append(token)
        task = self.service.find(token=token)
        if task is None or task.over or self in task.watchers:
            return
        ordinal = self.record.tokens.index(token)
        self._tasks[token] = task
        session = self._session(task, ordinal) if task.script.realtime else None

        def watch(message: TaskMessage) -> None:
            self.forward(Outgoing(message.type, message.payload, message.over, ordinal))
            if session is not None and message.type == READY:
                session.begin()
            if message.over:
                self._tasks.pop(token, None)

        task.watchers[self] = watch

    def _session(self, task: EmulatedTask, ordinal: int) -> VoiceSession:
        prefix = f"{task.token}|".encode()

        def say(pcm: bytes) -> None:
            self.forward(Outgoing("audio", prefix + pcm, ordinal=ordinal, binary=True))

        session = self._sessions[task.token] = VoiceSession(task, self.service.player, say)
        if any(status == READY for _, status in task.history):
            asyncio.get_running_loop().call_soon(session.begin)
        return session

    def _send(self, message: Outgoing) -> None:
        self.record.messages += 1
        self.connection.push(message.payload, binary=message.binary)
