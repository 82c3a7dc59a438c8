"""The ASGI application: routes requests and applies faults."""

import asyncio
import time
from contextlib import suppress
from email.utils import formatdate
from urllib.parse import unquote

import attrs
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from wiro_async.testing._json import Json
from wiro_async.testing._records import Call, RefusedError
from wiro_async.testing._server.auth import BLOCKED, authorize, is_blocked
from wiro_async.testing._server.bodies import json_response, read_body
from wiro_async.testing._server.endpoints import HANDLERS
from wiro_async.testing._server.held_runs import accepted, event_stream, result_response
from wiro_async.testing._server.socket_session import serve_socket
from wiro_async.testing._server.uvicorn_server import HttpConnection
from wiro_async.testing._service.file_store import file_response
from wiro_async.testing._service.service import Service

PUBLIC = ("Tool/", "files/")  # endpoints that need no key
ROOT = "/v1/"


@attrs.frozen
class App:
    """The emulator as an ASGI application."""

    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket. Cancelled when the emulator stops."""
        with suppress(asyncio.CancelledError):
            if scope["type"] == "websocket":
                await serve_socket(self.service, WebSocket(scope, receive, send))
            elif scope["path"] == "/_emulator/ledger":
                await json_response(self.service.ledger.as_json())(scope, receive, send)
            else:
                await HttpExchange(self.service, Request(scope, receive), send).run()


@attrs.define(eq=False)
class HttpExchange:
    """One request: recorded in the ledger, passed to a fault or handled, answered."""

    service: Service
    request: Request
    send: Send
    call: Call = attrs.field(init=False)
    _segments: list[str] = attrs.field(init=False)
    _parsed: bool = attrs.field(default=False, init=False)
    _malformed: RefusedError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        path = self.request.scope["raw_path"].decode()
        self._segments = [unquote(segment) for segment in path.removeprefix(ROOT).split("/")]
        endpoint = "/".join(self._segments)
        if self.request.method in ("GET", "HEAD") and endpoint.startswith("File/"):
            endpoint = "files" + endpoint.removeprefix("File")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.request.scope["headers"]}
        self.call = Call(self.request.method, path, endpoint, headers, time.time())

    async def run(self) -> None:
        ledger, faults = self.service.ledger, self.service.faults
        ledger.calls.append(self.call)
        try:
            # A fault may strike before the body is read: a reset does not wait for an upload.
            fault = faults.draw_http(self.call, parsed=False)
            if fault is None:
                await self._parse()
                fault = faults.draw_http(self.call, parsed=True)
            if fault is None:
                await self.answer(await self.handle())
            else:
                await fault.apply(self)
        except ClientDisconnect:
            pass

    async def handle(self) -> Response:
        """Carry out the request and return its response, unsent. A refusal becomes an error envelope."""
        await self._parse()
        try:
            return await self._dispatch()
        except RefusedError as refusal:
            error: Json = {"code": refusal.code, "message": refusal.message, "time": str(int(time.time()))}
            return json_response({"result": False, "errors": [error]}, refusal.status)

    async def answer(self, response: Response) -> None:
        """Send a response and record its status."""
        self.call.answered(response.status_code)
        response.headers["date"] = formatdate(time.time() + self.service.faults.clock_skew, usegmt=True)
        await response(self.request.scope, self.request.receive, self.send)

    async def write(self, message: Message) -> None:
        await self.send(message)

    async def hang_up(self, *, reset: bool) -> None:
        """Close the connection, and let the server notice."""
        connection: HttpConnection = self.request.scope["state"]["connection"]
        connection.hang_up(reset=reset)
        await asyncio.sleep(0)

    async def _parse(self) -> None:
        """Read the body once. A malformed body is refused later, after the key is checked."""
        if self._parsed:
            return
        self._parsed = True
        try:
            self.call.received(*await read_body(self.request))
        except RefusedError as refusal:
            self._malformed = refusal

    async def _dispatch(self) -> Response:
        call, service = self.call, self.service
        if is_blocked(call.headers):
            return Response(BLOCKED, 403, media_type="text/html")
        if not call.path.startswith(ROOT):
            raise RefusedError(0, "Error parsing url.", 404)
        if not call.endpoint.startswith(PUBLIC):
            authorize(call.headers, service.api_key, service.api_secret)
        if self._malformed:
            raise self._malformed
        if call.endpoint.startswith("files/"):
            return self._download()
        if call.method == "POST" and call.endpoint in HANDLERS:
            return json_response(HANDLERS[call.endpoint](service, call))
        if call.method == "POST" and self._segments[0] == "Run" and len(self._segments) in (3, 4):
            return await self._run()
        raise RefusedError(0, "Error parsing url.", 404)

    async def _run(self) -> Response:
        _, owner, project, *rest = self._segments
        if rest not in ([], ["sync"]):
            raise RefusedError(0, "Error parsing url.", 404)
        task = self.service.submit(f"{owner}/{project}", self.call)
        if not rest:
            return json_response(accepted(task))
        streamed = self.request.query_params.get("stream") == "true"
        if streamed or "text/event-stream" in self.call.headers.get("accept", ""):
            return event_stream(self.service, task)
        return await result_response(self.service, task)

    def _download(self) -> Response:
        file = self.service.files.find(self._segments[1])
        if file is None or file.name != self._segments[-1]:
            return Response("Not Found", 404, media_type="text/plain")
        if file.task is not None and file.misses < self.service.faults.quirks(file.task).output_lag:
            file.count_miss()
            return Response("Not Found", 404, media_type="text/plain")
        return file_response(file, self.call.headers.get("range", ""), self.call.headers.get("if-range", ""))
