"""Faults of HTTP requests, as small frozen values."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import attrs
from starlette.responses import Response
from starlette.types import Message


class Exchange(Protocol):
    """One request and its response, as a fault uses it."""

    async def handle(self) -> Response:
        """Carry out the request and return its response, unsent."""
        ...

    async def answer(self, response: Response) -> None:
        """Send a response."""

    async def write(self, message: Message) -> None:
        """Send one raw ASGI message."""

    async def hang_up(self, *, reset: bool) -> None:
        """Close the connection: at once with a TCP reset, or after all sent bytes have left."""


class HttpFault(Protocol):
    """Anything with this method can be passed to `faults.http`."""

    async def apply(self, exchange: Exchange, /) -> None:
        """Replace the normal handling of the request."""


@attrs.frozen
class Respond:
    """Send this response instead. The request is handled only if `handled` is set."""

    status: int
    body: str | bytes = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    handled: bool = False

    async def apply(self, exchange: Exchange) -> None:
        if self.handled:
            await exchange.handle()
        await exchange.answer(Response(self.body, self.status, dict(self.headers), self.content_type))


@attrs.frozen
class ResetBefore:
    """Reset the connection without handling the request."""

    async def apply(self, exchange: Exchange) -> None:
        await exchange.hang_up(reset=True)


@attrs.frozen
class ResetAfter:
    """Handle the request (a run is billed), then reset the connection without a response."""

    async def apply(self, exchange: Exchange) -> None:
        await exchange.handle()
        await exchange.hang_up(reset=True)


@attrs.frozen
class Delay:
    """Handle the request after a delay."""

    seconds: float

    async def apply(self, exchange: Exchange) -> None:
        await asyncio.sleep(self.seconds)
        await exchange.answer(await exchange.handle())


@attrs.frozen
class DelayAnswer:
    """Handle the request at once, but respond after a delay."""

    seconds: float

    async def apply(self, exchange: Exchange) -> None:
        response = await exchange.handle()
        await asyncio.sleep(self.seconds)
        await exchange.answer(response)


@attrs.frozen
class Cut:
    """Announce the whole body, but close the connection after its first bytes."""

    after_bytes: int

    async def apply(self, exchange: Exchange) -> None:
        response = await exchange.handle()
        start = {"type": "http.response.start", "status": response.status_code}
        await exchange.write({**start, "headers": response.raw_headers})
        body = bytes(response.body)[: self.after_bytes]
        await exchange.write({"type": "http.response.body", "body": body, "more_body": True})
        await exchange.hang_up(reset=False)
