"""Faults of single HTTP requests, as small frozen values."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import attrs
from starlette.responses import Response
from starlette.types import Message


class Exchange(Protocol):
    """One request and its answer, as a fault sees it."""

    async def handle(self) -> Response:
        """Do what the request asks, and return the answer unsent."""
        ...

    async def answer(self, response: Response) -> None:
        """Send an answer."""
        ...

    async def write(self, message: Message) -> None:
        """Send one raw ASGI message."""
        ...

    async def hang_up(self, *, reset: bool) -> None:
        """Drop the connection: at once with a TCP reset, or after what was sent has left."""
        ...


class HttpFault(Protocol):
    """Anything with this method can be given to `faults.http`."""

    async def apply(self, exchange: Exchange) -> None:
        """Take the place of the normal exchange."""
        ...


@attrs.frozen
class Respond:
    """Answer this instead. The request is not handled, unless `handled`."""

    status: int
    body: str | bytes = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    handled: bool = False

    async def apply(self, exchange: Exchange) -> None:
        """Send the answer."""
        if self.handled:
            await exchange.handle()
        await exchange.answer(Response(self.body, self.status, dict(self.headers), self.content_type))


@attrs.frozen
class ResetBefore:
    """Reset the connection; the request is not handled."""

    async def apply(self, exchange: Exchange) -> None:
        """Hang up."""
        await exchange.hang_up(reset=True)


@attrs.frozen
class ResetAfter:
    """Handle the request in full (a run is billed), then reset the connection without an answer."""

    async def apply(self, exchange: Exchange) -> None:
        """Handle, then hang up."""
        await exchange.handle()
        await exchange.hang_up(reset=True)


@attrs.frozen
class Delay:
    """Wait, then handle and answer."""

    seconds: float

    async def apply(self, exchange: Exchange) -> None:
        """Wait first."""
        await asyncio.sleep(self.seconds)
        await exchange.answer(await exchange.handle())


@attrs.frozen
class DelayAnswer:
    """Handle at once, answer late."""

    seconds: float

    async def apply(self, exchange: Exchange) -> None:
        """Wait last."""
        response = await exchange.handle()
        await asyncio.sleep(self.seconds)
        await exchange.answer(response)


@attrs.frozen
class Cut:
    """Promise the whole body, send only its first bytes, hang up."""

    after_bytes: int

    async def apply(self, exchange: Exchange) -> None:
        """Send a part."""
        response = await exchange.handle()
        start = {"type": "http.response.start", "status": response.status_code}
        await exchange.write({**start, "headers": response.raw_headers})
        body = bytes(response.body)[: self.after_bytes]
        await exchange.write({"type": "http.response.body", "body": body, "more_body": True})
        await exchange.hang_up(reset=False)
