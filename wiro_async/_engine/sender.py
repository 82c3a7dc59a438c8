"""Sign, send, decode, and send again what may be."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from email.utils import parsedate_to_datetime

import anyio
import attrs

from wiro_async._errors import RateLimitError, SessionClosedError, TransportError, WiroError
from wiro_async._protocol.auth import Credentials
from wiro_async._protocol.entities import Submitted
from wiro_async._protocol.json import JSON, decode_or_none
from wiro_async._protocol.requests import Request
from wiro_async._protocol.responses import parse_envelope
from wiro_async._protocol.retry import RetryPolicy
from wiro_async._protocol.sse import ServerEvent
from wiro_async._protocol.values import as_dict
from wiro_async._redaction import without_login
from wiro_async._transport import clock
from wiro_async._transport.http import Answer, HttpTransport
from wiro_async._transport.multipart import Multipart

logger = logging.getLogger("wiro_async")
JSON_TYPE = {"Content-Type": "application/json"}


class Pace:
    """Slows the whole session down after a 429, and knows the service's clock."""

    def __init__(self) -> None:
        self._open_at = 0.0
        self._date: tuple[str, float] | None = None
        self._closed = anyio.Event()

    @property
    def offset(self) -> float:
        """Seconds by which the service's clock is ahead of ours, as its last answer told."""
        if self._date is None:
            return 0.0
        date, seen_at = self._date
        try:
            return parsedate_to_datetime(date).timestamp() - seen_at
        except ValueError:
            return 0.0

    def note_date(self, date: str | None) -> None:
        """Take the `Date` header of an answer that came just now."""
        if date:
            self._date = date, clock.now()

    def hold(self, seconds: float) -> None:
        """Let nobody send for so long."""
        self._open_at = max(self._open_at, anyio.current_time() + seconds)

    async def wait(self) -> None:
        """Until sending is allowed. Raises `SessionClosedError` if the session is closed meanwhile."""
        while (seconds := self._open_at - anyio.current_time()) > 0:
            await self.sleep(seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts. Raises `SessionClosedError` if the session is closed meanwhile."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
            raise SessionClosedError("the session was closed while a call waited to be repeated")

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed.set()


@attrs.frozen
class Sender:
    """Makes calls with one set of credentials, over connections shared with other senders."""

    base_url: str = attrs.field(repr=lambda url: repr(without_login(url)))
    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(repr=False)
    retry: RetryPolicy
    timeout: float | None
    http: HttpTransport
    pace: Pace
    ready: Callable[[], Awaitable[None]]

    async def call(self, request: Request) -> dict[str, JSON]:
        """The answer to a call.

        A repeatable call is repeated as the retry policy says; another only if it was refused for its rate.

        Raises:
            WiroError: the last attempt's error.
        """
        await self.ready()
        attempt = 1
        while True:
            try:
                return await self._attempt(request)
            except WiroError as error:
                if not self.may_repeat(request, error, attempt):
                    raise
                await self.pause(request, error, attempt)
            attempt += 1

    async def attempt(self, request: Request) -> dict[str, JSON]:
        """The answer to a call that is made just once."""
        await self.ready()
        return await self._attempt(request)

    async def pause(self, request: Request, error: WiroError, attempt: int) -> None:
        """Wait as long as the retry policy says after a failed attempt; after a 429 the whole session does."""
        delay = self.retry.delay(error, attempt, clock.chance())
        logger.info("%s: %s; again in %.2f s", request.endpoint, type(error).__name__, delay)
        if isinstance(error, RateLimitError):
            self.pace.hold(delay)
            await self.pace.wait()
        else:
            await self.pace.sleep(delay)

    def may_repeat(self, request: Request, error: WiroError, attempt: int) -> bool:
        """Whether another attempt does no harm, and the retry policy allows it."""
        never_left = isinstance(error, TransportError) and not error.sent
        refused = isinstance(error, RateLimitError) and request.is_replayable
        return (request.repeatable or never_left or refused) and self.retry.allows(error, attempt)

    @asynccontextmanager
    async def events(self, request: Request) -> AsyncGenerator[dict[str, JSON] | AsyncIterator[ServerEvent]]:
        """The answer to a call that is made just once: an event stream, or a mapping if it is none.

        An answer that tells the ids of a task is one, whatever its status: a 504 only says that the wait was cut.
        """
        await self.ready()
        await self.pace.wait()
        async with _body(request) as (content, kind):
            headers = {**self._headers(kind), "Accept": "text/event-stream"}
            async with self.http.post_events(self._url(request), headers, content, self.timeout) as answer:
                if not isinstance(answer, Answer):
                    yield answer
                    return
                told = as_dict(decode_or_none(answer.body))
                yield told if Submitted.from_wire(told) else self._parsed(answer)

    async def _attempt(self, request: Request) -> dict[str, JSON]:
        await self.pace.wait()
        async with _body(request) as (content, kind):
            return self._parsed(await self.http.post(self._url(request), self._headers(kind), content, self.timeout))

    def _parsed(self, answer: Answer) -> dict[str, JSON]:
        self.pace.note_date(answer.headers.get("date"))
        return parse_envelope(answer.status, answer.headers, answer.body, clock.now(), self.credentials.secrets)

    def _url(self, request: Request) -> str:
        return f"{self.base_url}/{request.path}"

    def _headers(self, kind: Mapping[str, str]) -> dict[str, str]:
        return {**self.headers, **self.credentials.headers(clock.nonce()), **kind}


@asynccontextmanager
async def _body(request: Request) -> AsyncGenerator[tuple[bytes | AsyncIterator[bytes], Mapping[str, str]]]:
    if request.parts is None:
        yield request.body, JSON_TYPE
        return
    body = await Multipart.of(request.parts)
    async with aclosing(body.chunks()) as chunks:
        yield chunks, body.headers
