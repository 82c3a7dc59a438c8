"""Sign, send, decode, and send again what may be."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

import anyio
import attrs

from wiro_async._errors import RateLimitError, SessionClosedError, TransportError, WiroError
from wiro_async._protocol.http.auth import Credentials
from wiro_async._protocol.http.event_stream import ServerEvent
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.http.responses import parse_envelope
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.tasks.records import Submitted
from wiro_async._protocol.values.json import JSON, decode_or_none
from wiro_async._protocol.values.parsing import as_dict
from wiro_async._redaction import strip_userinfo
from wiro_async._transport import clock
from wiro_async._transport.http import HttpResponse, HttpTransport

logger = logging.getLogger("wiro_async")
JSON_TYPE = {"Content-Type": "application/json"}
TOKEN = re.compile(rb'oken"\s*:\s*"([^"]{8,256})"')
MANY_BYTES = 4096  # a longer body is no call about one task
PRIVATE = re.compile(r"(?i)auth|key|token|secret|sign|nonce|cookie|password")


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
        from email.utils import parsedate_to_datetime

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


@attrs.define
class Departure:
    """How far a call has come on its way out.

    Attributes:
        has_begun: whether any byte of it may have left.
        is_complete: whether nothing of it is left here, so that it may be heeded.
    """

    has_begun: bool = False
    is_complete: bool = False

    def spends(self, request: Request) -> bool:
        """Whether the call cannot be made again, for its body has begun to leave and cannot be produced twice."""
        return self.has_begun and not request.is_replayable

    async def watch(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The body, piece by piece as it leaves."""
        self.has_begun = True
        async for chunk in chunks:
            yield chunk
        self.is_complete = True


@attrs.frozen
class Sender:
    """Makes calls with one set of credentials, over connections shared with other senders."""

    base_url: str = attrs.field(repr=lambda url: repr(strip_userinfo(url)))
    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(repr=False)
    retry: RetryPolicy
    timeout: float | None
    http: HttpTransport
    pace: Pace
    ready: Callable[[], Awaitable[None]]

    @property
    def account(self) -> str:
        """Equal where calls are about the same account's tasks, as far as can be told."""
        return f"{self.base_url} {self.credentials.api_key}"

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

    async def submit(self, request: Request, departure: Departure) -> dict[str, JSON]:
        """The answer to a call that is made just once, and makes a task.

        An answer that tells the ids of a task is one, whatever its status and whatever else it says.
        """
        await self.ready()
        answer, sent = await self._exchanged(request, departure)
        return self._told(answer, sent)

    def urgent(self, seconds: float) -> Sender:
        """The same for calls that must not wait for what others were told, each made once and so long at most."""
        shortest = seconds if self.timeout is None else min(seconds, self.timeout)
        return attrs.evolve(self, timeout=shortest, retry=attrs.evolve(self.retry, attempts=1), pace=Pace())

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
    async def events(
        self, request: Request, departure: Departure
    ) -> AsyncGenerator[dict[str, JSON] | AsyncIterator[ServerEvent]]:
        """The same where the answer is an event stream, or a mapping if it is none, as where a 504 cuts the wait."""
        await self.ready()
        await self.pace.wait()
        async with _body(request, departure) as (content, kind):
            headers = {**self._headers(kind), "Accept": "text/event-stream"}
            async with self.http.post_events(self._url(request), headers, content, self.timeout) as answer:
                yield self._told(answer, _secrets(request, headers)) if isinstance(answer, HttpResponse) else answer

    async def _attempt(self, request: Request) -> dict[str, JSON]:
        return self._parsed(*await self._exchanged(request, Departure()))

    async def _exchanged(self, request: Request, departure: Departure) -> tuple[HttpResponse, tuple[str, ...]]:
        await self.pace.wait()
        async with _body(request, departure) as (content, kind):
            headers = self._headers(kind)
            answer = await self.http.post(self._url(request), headers, content, self.timeout)
        return answer, _secrets(request, headers)

    def _told(self, answer: HttpResponse, sent: tuple[str, ...]) -> dict[str, JSON]:
        told = as_dict(decode_or_none(answer.body))
        return told if Submitted.from_wire(told) else self._parsed(answer, sent)

    def _parsed(self, answer: HttpResponse, sent: tuple[str, ...]) -> dict[str, JSON]:
        self.pace.note_date(answer.headers.get("date"))
        secrets = (*self.credentials.secrets, *sent)
        return parse_envelope(answer.status, answer.headers, answer.body, clock.now(), secrets)

    def _url(self, request: Request) -> str:
        return f"{self.base_url}/{request.path}"

    def _headers(self, kind: Mapping[str, str]) -> dict[str, str]:
        return {**self.headers, **self.credentials.headers(clock.nonce()), **kind}


@asynccontextmanager
async def _body(
    request: Request, departure: Departure
) -> AsyncGenerator[tuple[bytes | AsyncIterator[bytes], Mapping[str, str]]]:
    if request.parts is None:
        departure.has_begun = departure.is_complete = True
        yield request.body, JSON_TYPE
        return
    from wiro_async._transport.http.multipart import Multipart

    body = await Multipart.of(request.parts)
    async with aclosing(body.chunks()) as chunks, aclosing(departure.watch(chunks)) as watched:
        yield watched, body.headers


def _secrets(request: Request, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a call says of tokens, signatures and the user's own headers, which its answer may repeat."""
    tokens = TOKEN.findall(request.body) if len(request.body) < MANY_BYTES else []
    private = (word for name, value in headers.items() if PRIVATE.search(name) for word in value.split())
    return (*private, *(token.decode(errors="replace") for token in tokens))
