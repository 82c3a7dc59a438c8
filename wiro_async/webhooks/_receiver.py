"""`WebhookReceiver`: takes callbacks, checks what they claim, and wakes those who wait."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from inspect import isawaitable
from typing import TypeAlias
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
import attrs

from wiro_async._api.resources.task_list import Reference, ref_of
from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._engine.calls.task_calls import TaskRef
from wiro_async._engine.tracking.id_memory import MadeTask
from wiro_async._errors import ConfigurationError, SessionClosedError, WebhookVerificationError, WiroError
from wiro_async._protocol.submission import callback_urls as webhook
from wiro_async._protocol.submission.intent import INTENT
from wiro_async._protocol.tasks.records import TaskInfo
from wiro_async._session import AsyncWiro
from wiro_async._transport import clock
from wiro_async._types import Timeouts
from wiro_async.webhooks._asgi import (
    DisconnectedError,
    Receive,
    RefusedError,
    Scope,
    Send,
    answer,
    body_of,
    header,
    lifespan,
    refuse_socket,
)
from wiro_async.webhooks._statistics import WebhookStatistics

logger = logging.getLogger("wiro_async")
OnEnd: TypeAlias = Callable[[TaskInfo], Awaitable[None] | None]

LIFETIME = 7 * 24 * 3600.0
LONGEST_LIFETIME = 100 * 366 * 24 * 3600.0
SHORTEST_SECRET = 16
MAX_PENDING = 1000
MAX_DONE = 10_000
SMALL_BODY = 16 * 1024  # bytes; what is larger is read in a thread


class WebhookReceiver:
    """An ASGI application that takes the callbacks of runs. Mount it anywhere, in the session's own event loop.

    Nobody can guess its addresses: each is signed and expires. A call is answered at once; then Task/Detail is asked,
    and only what that says is told to anybody. So a call that is forged, repeated or lost changes nothing: those who
    wait poll slowly, too. What it does in the background belongs to the session and ends with it.

    Args:
        wiro: the session that asks Task/Detail, and whose runs are woken.
        secret: signs the addresses; at least 16 characters. Give it, or set WIRO_WEBHOOK_SECRET, if addresses must
            outlive this process or be understood by others. Of several, the first signs and all are accepted.
        lifetime: seconds for which an address is good: longer than the longest run. A week, if not given.
        on_end: called once with every confirmed task, whoever made it; may be a coroutine function.

    Raises:
        ConfigurationError: a secret is too short, or the lifetime no number of seconds.
    """

    def __init__(
        self,
        wiro: AsyncWiro,
        *,
        secret: str | Sequence[str] | None = None,
        lifetime: float = LIFETIME,
        on_end: OnEnd | None = None,
    ) -> None:
        self._wiro = wiro
        self._secrets = _secrets(secret)
        self._lifetime = _seconds(lifetime)
        self._on_end = on_end
        self._counts = WebhookStatistics()
        self._pending: set[str] = set()
        self._reading = 0
        self._readers = anyio.CapacityLimiter(1)
        self._done: dict[str, None] = {}
        self._desk = wiro._callbacks
        self._desk.register(self.owns)

    def __repr__(self) -> str:
        return f"WebhookReceiver({self._wiro!r})"

    def url_for(self, base: str) -> str:
        """A new address for the callback of a run, below the one at which this receiver is mounted.

        Args:
            base: such as "https://my.app/wiro"; the service must be able to reach it.

        Raises:
            ConfigurationError: the base is no address.
        """
        nonce, expires = secrets.token_bytes(webhook.NONCE_BYTES), clock.now() + self._lifetime
        return webhook.address(base, webhook.segment(self._secrets[0], nonce, expires))

    def at(self, base: str) -> Callable[[], str]:
        """A source of addresses, for all runs of a session: `wiro.with_options(callback_url=receiver.at(base))`."""
        webhook.address(base, "")
        return partial(self.url_for, base)

    async def wait(self, task: TaskHandle | Reference, timeout: float | Timeouts | None = None) -> TaskResult:
        """Wait for a task that was given an address of this receiver: without a socket, polling slowly.

        Cancelling stops the wait, not the task.

        Args:
            timeout: seconds to wait from now, or `Timeouts`; the session's if not given.

        Raises:
            TaskFailedError, TaskCancelledError: it ended without a result.
            TaskTimeoutError: a time-out passed; the task goes on.
        """
        return await self._desk.waiting(ref_of(task)).result(timeout)

    def statistics(self) -> WebhookStatistics:
        """What became of the calls so far."""
        return attrs.evolve(self._counts, pending=len(self._pending) + self._reading)

    def verify(self, path: str) -> None:
        """Check the address of a call yourself, where something else than this app takes it.

        Raises:
            WebhookVerificationError: it is not signed by this receiver's secrets, or expired.
        """
        verdict = webhook.verdict(self._secrets, webhook.segment_of(path), clock.now())
        if verdict != "good":
            said = "has expired" if verdict == "expired" else "is not signed by this receiver"
            raise WebhookVerificationError(f"the address of this callback {said}")

    def owns(self, url: str) -> bool:
        """Whether this is an address of its own that still holds."""
        return webhook.verdict(self._secrets, webhook.segment_of(url), clock.now()) == "good"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await refuse_socket(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._counts.received += 1
        try:
            body = await self._taken(scope, receive)
        except RefusedError as error:
            await answer(send, error.status)
        except DisconnectedError:
            return
        else:
            try:
                await answer(send, 200)
            finally:
                await self._heed(scope, body)

    async def _taken(self, scope: Scope, receive: Receive) -> bytes:
        self._check(scope)
        try:
            body = await body_of(scope, receive)
            await self._desk.ready()
        except (RefusedError, DisconnectedError):
            self._counts.refused += 1
            raise
        except SessionClosedError as error:
            logger.warning("a callback came to a session that cannot take it: %s", error)
            raise RefusedError(503) from None
        return body

    async def _heed(self, scope: Scope, body: bytes) -> None:
        """Have what a call is about confirmed: the task that was given its address, else those that its body names."""
        segment = webhook.segment_of(scope["path"])
        about = [noted] if (noted := self._noted(scope)) else await self._named(scope, body)
        if not about:
            self._counts.unreadable += 1
        for one in about:
            self._start(one, segment)

    def _noted(self, scope: Scope) -> MadeTask | None:
        ids = parse_qs(scope.get("query_string", b"").decode("latin-1")).get(INTENT, ())
        return next(filter(None, map(self._desk.task_of, ids)), None)

    async def _named(self, scope: Scope, body: bytes) -> list[MadeTask]:
        kind = header(scope, b"content-type")
        if len(body) <= SMALL_BODY:
            found = webhook.ids_in(body, kind)
        else:
            self._reading += 1
            try:
                found = await anyio.to_thread.run_sync(webhook.ids_in, body, kind, limiter=self._readers)
            finally:
                self._reading -= 1
        return [MadeTask(TaskRef(ids.task_id, ids.token), None) for ids in found]

    def _check(self, scope: Scope) -> None:
        if scope["method"] != "POST":
            self._counts.refused += 1
            raise RefusedError(405)
        verdict = webhook.verdict(self._secrets, webhook.segment_of(scope["path"]), clock.now())
        if verdict == "forged":
            self._counts.forged += 1
            raise RefusedError(404)
        if verdict == "expired":
            self._counts.expired += 1
            raise RefusedError(410)

    def _start(self, noted: MadeTask, segment: str) -> None:
        keys = {key for key in (noted.ref.task_id, noted.ref.token) if key}
        if not keys.isdisjoint(self._pending) or not keys.isdisjoint(self._done):
            self._counts.duplicates += 1
        elif len(self._pending) >= MAX_PENDING:
            self._counts.dropped += 1
        else:
            self._desk.start(self._confirm, noted, segment)
            self._pending.add(noted.ref.key)

    async def _confirm(self, noted: MadeTask, segment: str) -> None:
        ref = noted.ref
        try:
            task = await self._desk.confirm(noted, partial(_is_about, ref, segment))
        except WebhookVerificationError:
            self._counts.forged += 1
            return
        except WiroError as error:
            logger.info("a callback about task %s could not be confirmed: %s", ref.task_id, error)
            task = None
        finally:
            self._pending.discard(ref.key)
        if task is None:
            self._counts.unconfirmed += 1
        elif task.id in self._done or task.token in self._done:  # one call named it by its id and by its token
            self._counts.duplicates += 1
        else:
            self._counts.confirmed += 1
            self._note_done(task)
            await self._tell(task)

    def _note_done(self, task: TaskInfo) -> None:
        for key in filter(None, (task.id, task.token)):
            self._done[key] = None
        while len(self._done) > MAX_DONE:
            del self._done[next(iter(self._done))]

    async def _tell(self, task: TaskInfo) -> None:
        if self._on_end is None:
            return
        try:
            told = self._on_end(task)
            if isawaitable(told):
                await told
        except Exception:
            logger.exception("on_end failed for task %s", task.id)


def _is_about(ref: TaskRef, segment: str, task: TaskInfo) -> bool:
    """Whether a call at an address may speak of a task: one that was given another address does not use this one."""
    echoed = task.raw.get("callbackurl")
    is_same = not isinstance(echoed, str) or not echoed or segment in echoed
    return is_same and ref.task_id in (None, task.id)


def _secrets(given: str | Sequence[str] | None) -> list[bytes]:
    given = given or os.environ.get("WIRO_WEBHOOK_SECRET") or secrets.token_urlsafe(32)
    found = [secret.encode() for secret in ([given] if isinstance(given, str) else given)]
    if any(len(secret) < SHORTEST_SECRET for secret in found):
        raise ConfigurationError(f"a webhook secret is shorter than {SHORTEST_SECRET} characters")
    return found


def _seconds(lifetime: float) -> float:
    given: object = lifetime
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not abs(given) <= LONGEST_LIFETIME:
        raise ConfigurationError(f"lifetime is {given!r}; give a number of seconds, such as {LIFETIME:g} for a week")
    return given
