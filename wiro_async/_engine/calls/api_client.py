"""Signs, sends and decodes requests, and repeats those that may be repeated."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TypeAlias

import attrs

from wiro_async._engine.calls.throttle import ServerClock, Throttle
from wiro_async._errors import RateLimitError, TransportError, WiroError
from wiro_async._errors.clean_tracebacks import cut_frames
from wiro_async._protocol.http.auth import Credentials
from wiro_async._protocol.http.requests import Request
from wiro_async._protocol.http.responses import parse_envelope
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.messages.event_stream import ServerEvent
from wiro_async._protocol.submission.decision import Left
from wiro_async._protocol.submission.seen_ids import SeenIds
from wiro_async._protocol.tasks.records import parse_run_ids
from wiro_async._protocol.values.json import JSON
from wiro_async._redaction import strip_userinfo
from wiro_async._transport import clock, threads
from wiro_async._transport.http import HttpResponse, HttpTransport
from wiro_async._tuning import Tuning

logger = logging.getLogger("wiro_async")
JSON_TYPE = {"Content-Type": "application/json"}
TOKEN = re.compile(rb'oken"\s*:\s*"([^"]{8,256})"')
MAX_TOKEN_BODY = 4096  # a longer body is no request about one task
Check: TypeAlias = Callable[[], Awaitable[None]]
PRIVATE = re.compile(r"(?i)auth|key|token|secret|sign|nonce|cookie|password")


@attrs.frozen
class ApiClient:
    """Makes requests with one set of credentials, over connections shared with other clients.

    Args:
        seen_ids: the ids of tasks that were seen of the same account.
        ready: opens the session if it is not open yet.
    """

    base_url: str = attrs.field(repr=lambda url: repr(strip_userinfo(url)))
    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(repr=False)
    retry: RetryPolicy
    timeout: float | None
    http: HttpTransport
    throttle: Throttle
    server_clock: ServerClock
    seen_ids: SeenIds
    tuning: Tuning
    ready: Callable[[], Awaitable[None]]

    @property
    def account(self) -> str:
        """Equal for clients that see the tasks of the same account, as far as can be known."""
        return account_of(self.base_url, self.credentials)

    def urgent(self, seconds: float) -> ApiClient:
        """A client whose requests ignore the throttle, are not repeated and take at most some seconds."""
        shortest = seconds if self.timeout is None else min(seconds, self.timeout)
        retry = attrs.evolve(self.retry, attempts=1)
        return attrs.evolve(self, timeout=shortest, retry=retry, throttle=Throttle())

    async def call(self, request: Request, on_retry: Callable[[WiroError], None] | None = None) -> dict[str, JSON]:
        """Send a request, again and again as the retry policy says, and return the response's body.

        Args:
            on_retry: called with the error of each attempt that another one follows.

        Raises:
            WiroError: the error of the last attempt.
        """
        await self.ready()
        tries = 1
        while True:
            try:
                return await self.post(request)
            except WiroError as error:
                is_rate_limited = isinstance(error, RateLimitError)
                # A request that never left did nothing, and neither did one that was refused for its rate: then even
                # requests that are not idempotent may be repeated.
                did_nothing = (isinstance(error, TransportError) and not error.sent) or (
                    is_rate_limited and request.is_replayable
                )
                if not (request.repeatable or did_nothing) or not self.retry.allows(error, tries):
                    raise
                delay = self.retry.delay(error, tries, self.tuning.random())
                if on_retry is not None:
                    on_retry(error)
                logger.info("%s: %s; again in %.2f s", request.endpoint, type(error).__name__, delay)
            if is_rate_limited:
                self.throttle.hold(delay)  # the next attempt waits for it, as do all other requests of the session
            else:
                await self.throttle.pause(delay)
            tries += 1

    async def post(
        self, request: Request, on_leaving: Callable[[Left], None] | None = None, check: Check | None = None
    ) -> dict[str, JSON]:
        """Send a request once and return the response's body.

        Args:
            on_leaving: called as the request leaves, with how much of it may have left.
            check: awaited right before the last of it leaves, when there is a connection. What it raises is raised
                here, and the request is not complete.
        """
        with cut_frames:
            await self.throttle.wait()
            async with self._content(request, on_leaving, check) as (content, headers):
                url, keeps_part = f"{self.base_url}/{request.path}", request.endpoint == "Run"
                response = await self.http.post(url, headers, content, self.timeout, keeps_part=keeps_part)
            return await self._parsed(request, headers, response)

    @asynccontextmanager
    async def events(
        self, request: Request, on_leaving: Callable[[Left], None], check: Check | None = None
    ) -> AsyncGenerator[dict[str, JSON] | AsyncIterator[ServerEvent]]:
        """Send a request once whose response is an event stream; a mapping if it is none, as after a proxy's 504."""
        await self.ready()
        await self.throttle.wait()
        async with self._content(request, on_leaving, check) as (content, headers):
            headers = {**headers, "Accept": "text/event-stream"}
            url = f"{self.base_url}/{request.path}"
            async with self.http.post_events(url, headers, content, self.timeout, keeps_part=True) as response:
                if isinstance(response, HttpResponse):
                    yield await self._parsed(request, headers, response)
                else:
                    yield response

    @asynccontextmanager
    async def _content(
        self, request: Request, on_leaving: Callable[[Left], None] | None, check: Check | None
    ) -> AsyncGenerator[tuple[bytes | AsyncIterator[bytes], dict[str, str]]]:
        """The signed headers, and a body that reports how much of it has left."""
        signed = {**self.headers, **self.credentials.headers(clock.nonce())}
        if request.parts is None:
            headers = {**signed, **JSON_TYPE}
            if check is None:
                if on_leaving is not None:
                    on_leaving("all")
                yield request.body, headers
                return
            # Waiting for a connection may take long. Headers alone start nothing, so the body is held back.
            async with aclosing(_reported(_once(request.body), on_leaving, check)) as reported:
                yield reported, {**headers, "Content-Length": str(len(request.body))}
            return
        from wiro_async._transport.http.multipart import Multipart

        body = await Multipart.of(request.parts, self.tuning.max_upload)
        async with aclosing(body.chunks()) as chunks, aclosing(_reported(chunks, on_leaving, check)) as reported:
            yield reported, {**signed, **body.headers}

    async def _parsed(self, request: Request, headers: Mapping[str, str], response: HttpResponse) -> dict[str, JSON]:
        """The response's body. Raises the error that the response stands for."""
        self.server_clock.observe(response.headers.get("date"))
        if len(response.body) <= self.tuning.max_threadless:
            return self._decoded(request, headers, response)
        return await threads.run(self._decoded, request, headers, response)

    def _decoded(self, request: Request, headers: Mapping[str, str], response: HttpResponse) -> dict[str, JSON]:
        # A response to Run that holds ids is a success, even if it broke off, or its status or its errors say something
        # else: the task exists, and a response taken for a refusal would send the run again.
        if request.endpoint == "Run" and (ids := parse_run_ids(response.body)) is not None:
            return ids
        if response.error is not None:
            raise response.error
        secrets = (*self.credentials.secrets, *_secrets(request, headers))
        url = f"{self.base_url}/{request.path}"
        return parse_envelope(response.status, response.headers, response.body, clock.now(), secrets, url)


def account_of(base_url: str, credentials: Credentials) -> str:
    """Text that is equal for the same account, as far as can be known."""
    return f"{base_url} {credentials.api_key}"


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _reported(
    chunks: AsyncIterator[bytes], on_leaving: Callable[[Left], None] | None, check: Check | None
) -> AsyncGenerator[bytes, None]:
    """Pass chunks on, each one when the next is there: the last one leaves only after the check."""
    if on_leaving is not None:
        on_leaving("part")
    held: bytes | None = None
    async for chunk in chunks:
        if held is not None:
            yield held
        held = chunk
    if check is not None:
        await check()
    if on_leaving is not None:
        on_leaving("all")
    if held is not None:
        yield held


def _secrets(request: Request, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Tokens, signatures and the user's own headers of a request, which its response may repeat."""
    tokens = TOKEN.findall(request.body) if len(request.body) < MAX_TOKEN_BODY else []
    private = (word for name, value in headers.items() if PRIVATE.search(name) for word in value.split())
    return (*private, *(token.decode(errors="replace") for token in tokens))
