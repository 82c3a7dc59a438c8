"""The part of ASGI that a receiver needs. https://asgi.readthedocs.io/en/latest/specs/www.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import anyio

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_BODY = 1024 * 1024
TEXTS = {404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 410: b"Gone"} | {
    413: b"Content Too Large",
    503: b"Service Unavailable",
}


class RefusedError(Exception):
    """A request that gets an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class DisconnectedError(Exception):
    """The client has disconnected: nobody waits for the response."""


def header(scope: Scope, name: bytes) -> str:
    """Return a request header, or "" if there is none."""
    found: bytes = next((value for key, value in scope.get("headers", ()) if key.lower() == name), b"")
    return found.decode("latin-1")


async def read_body(scope: Scope, receive: Receive, timeout: float) -> bytes:
    """Read the whole body.

    Args:
        timeout: seconds until the body must be complete.

    Raises:
        RefusedError: the body is too large or too slow.
        DisconnectedError: the client disconnected before the end of the body.
    """
    length = header(scope, b"content-length")
    # Python refuses to parse numbers of thousands of digits, so the number of digits is checked first.
    if length.isdecimal() and (len(length) > 18 or int(length) > MAX_BODY):
        raise RefusedError(413)
    body = bytearray()
    with anyio.move_on_after(timeout):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise RefusedError(413)
            if not message.get("more_body", False):
                return bytes(body)
    raise RefusedError(408)


async def respond(send: Send, status: int) -> None:
    text = TEXTS.get(status, b"")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    headers += [(b"allow", b"POST")] if status == 405 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge the start and the end of the server."""
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


async def refuse_socket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})
