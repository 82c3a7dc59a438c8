"""`WebhookReceiver`: receives callbacks, confirms them and ends the waits for their tasks.

Anybody can send a request to a public URL, and the service documents neither a signature nor the body of its callbacks.
So a receiver trusts only its own URL, which is signed and expires, and takes a callback as nothing but a hint to read
Task/Detail. That read decides. A forged, repeated or lost callback therefore changes no result: every wait also polls,
slowly. A callback that overtakes the response to its run is kept until the session knows the task.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import parse_qs

from wiro_async._api.results.task_result import TaskResult
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.task_list import Reference, ref_of
from wiro_async._engine.tracking.id_memory import MadeTask
from wiro_async._errors import ConfigurationError, SessionClosedError, WebhookVerificationError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.submission import callback_urls as webhook
from wiro_async._protocol.submission.intent import INTENT
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._session import AsyncWiro
from wiro_async._transport import clock, threads
from wiro_async._types import Timeouts
from wiro_async.webhooks._asgi import (
    DisconnectedError,
    Receive,
    RefusedError,
    Scope,
    Send,
    header,
    lifespan,
    read_body,
    refuse_socket,
    respond,
)
from wiro_async.webhooks._confirmations import Claim, Confirmations, OnEnd
from wiro_async.webhooks._statistics import WebhookStatistics

logger = logging.getLogger("wiro_async")

LIFETIME = 7 * 24 * 3600.0
LONGEST_LIFETIME = 100 * 366 * 24 * 3600.0
SHORTEST_SECRET = 16
SMALL_BODY = 16 * 1024  # bytes; larger bodies are parsed in a thread


@cuts_frames
class WebhookReceiver:
    """An ASGI application that receives the callbacks of runs. Mount it in an app on the session's event loop.

    The receiver's URLs cannot be guessed: each one is signed and expires. The receiver responds to a callback at once,
    then reads Task/Detail, and reports only what Task/Detail says. Its background work belongs to the session and ends
    with it.

    Args:
        wiro: the session that reads Task/Detail, and whose waits end.
        secret: signs the URLs; at least 16 characters. Pass it or set WIRO_WEBHOOK_SECRET if URLs must outlive this
            process, or if other processes receive their callbacks. Of several secrets the first one signs, and all
            are accepted.
        lifetime: seconds until a URL expires; longer than the longest run. The default is a week.
        on_end: called once with every confirmed task, even if another process made the task. May be a coroutine
            function. Without it, only tasks that the session made or waits for are confirmed.

    Raises:
        ConfigurationError: a secret is too short, or the lifetime is no number of seconds.
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
        self._tuning = wiro._engine.tuning
        self._secrets = _secrets(secret)
        given: object = lifetime
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not abs(given) <= LONGEST_LIFETIME:
            raise ConfigurationError(
                f"lifetime is {given!r}; pass a number of seconds, such as {LIFETIME:g} for a week"
            )
        self._lifetime = given
        self._counts = Counter[str]()
        self._reading = 0
        self._early: dict[str, str] = {}  # the segments of URLs that were called, by the ids of runs not known yet
        self._callbacks = wiro._callbacks
        self._confirmations = Confirmations(self._callbacks, self._counts, on_end)
        self._callbacks.register(self.owns, self._made)

    def __repr__(self) -> str:
        return f"WebhookReceiver({self._wiro!r})"

    def url_for(self, base: str) -> str:
        """Return a new callback URL for a run.

        Args:
            base: the URL at which this receiver is mounted, such as "https://my.app/wiro". The service must be able
                to reach it.

        Raises:
            ConfigurationError: the base is no URL.
        """
        nonce, expires = secrets.token_bytes(webhook.NONCE_BYTES), clock.now() + self._lifetime
        return webhook.url_below(base, webhook.segment(self._secrets[0], nonce, expires))

    def at(self, base: str) -> Callable[[], str]:
        """Return a function that makes a new URL for each run: `wiro.with_options(callback_url=receiver.at(base))`."""
        webhook.url_below(base, "")
        return partial(self.url_for, base)

    async def wait(self, task: TaskHandle | Reference, timeout: float | Timeouts | None = None) -> TaskResult:
        """Wait for a task whose callback comes to this receiver. It opens no socket and polls slowly.

        Cancelling stops the wait, not the task.

        Args:
            timeout: seconds to wait from now, or `Timeouts`. The default is that of the session.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without a result.
            TaskTimeoutError: a timeout passed. The task continues.
        """
        return await self._callbacks.waiting(ref_of(task)).result(timeout)

    def statistics(self) -> WebhookStatistics:
        """Return what happened to the callbacks so far."""
        return WebhookStatistics(**self._counts, pending=self._confirmations.pending + self._reading)

    def verify(self, path: str) -> None:
        """Check the URL of a callback that another app received.

        Raises:
            WebhookVerificationError: this receiver did not sign the URL, or the URL has expired.
        """
        verdict = webhook.verdict(self._secrets, webhook.segment_of(path), clock.now())
        if verdict != "good":
            reason = "has expired" if verdict == "expired" else "is not signed by this receiver"
            raise WebhookVerificationError(f"the URL of this callback {reason}")

    def owns(self, url: str) -> bool:
        """Return whether this is a URL of this receiver that has not expired."""
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
        self._counts["received"] += 1
        try:
            self._check(scope)
            body = await self._read(scope, receive)
        except RefusedError as error:
            await respond(send, error.status)
        except DisconnectedError:
            return
        else:
            try:
                await respond(send, 200)
            finally:  # the service has sent its callback, even if it does not wait for the response
                await self._handle(scope, body)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        try:
            body = await read_body(scope, receive, self._tuning.callback_body)
            await self._callbacks.ready()
        except (RefusedError, DisconnectedError):
            self._counts["refused"] += 1
            raise
        except SessionClosedError as error:
            logger.warning("a callback arrived at a session that cannot handle it: %s", error)
            raise RefusedError(503) from None
        return body

    async def _handle(self, scope: Scope, body: bytes) -> None:
        """Start to confirm the task to which the URL belongs, or else the tasks that the body names."""
        segment, intent_id = webhook.segment_of(scope["path"]), _intent_id(scope)
        known = self._callbacks.task_of(intent_id)
        if known is not None:
            self._confirmations.add(Claim(known, segment, by_url=True))
            return
        if intent_id:
            self._early[intent_id] = segment
            if len(self._early) > self._tuning.callback_max_done:
                del self._early[next(iter(self._early))]
        tasks = await self._named(scope, body)
        if not tasks:
            self._counts["unreadable"] += 1
        for task in tasks:
            self._confirmations.add(Claim(task, segment, by_url=False))

    async def _named(self, scope: Scope, body: bytes) -> list[MadeTask]:
        """Return the tasks that a body names. A large body is parsed in a thread, one at a time."""
        kind = header(scope, b"content-type")
        if len(body) <= SMALL_BODY:
            found = webhook.ids_in(body, kind)
        else:
            self._reading += 1
            try:
                found = await threads.run(webhook.ids_in, body, kind, kind="callbacks")
            finally:
                self._reading -= 1
        return [MadeTask(TaskRef(ids.task_id, ids.token), None) for ids in found]

    def _check(self, scope: Scope) -> None:
        if scope["method"] != "POST":
            self._counts["refused"] += 1
            raise RefusedError(405)
        verdict = webhook.verdict(self._secrets, webhook.segment_of(scope["path"]), clock.now())
        if verdict == "forged":
            self._counts["forged"] += 1
            raise RefusedError(404)
        if verdict == "expired":
            self._counts["expired"] += 1
            raise RefusedError(410)
        if self._confirmations.is_full and self._callbacks.task_of(_intent_id(scope)) is None:
            self._counts["dropped"] += 1
            raise RefusedError(503)

    def _made(self, intent_id: str, task: MadeTask) -> None:
        """A run was made with a URL of this receiver, which may have been called before."""
        segment = self._early.pop(intent_id, None)
        if segment is not None:
            self._confirmations.add(Claim(task, segment, by_url=True))


def _intent_id(scope: Scope) -> str:
    """Return the id of the run to which the called URL belongs, or "" if it has none."""
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get(INTENT, [""])[-1]


def _secrets(given: str | Sequence[str] | None) -> list[bytes]:
    given = given or os.environ.get("WIRO_WEBHOOK_SECRET") or secrets.token_urlsafe(32)
    found = [secret.encode() for secret in ([given] if isinstance(given, str) else given)]
    if any(len(secret) < SHORTEST_SECRET for secret in found):
        raise ConfigurationError(f"a webhook secret is shorter than {SHORTEST_SECRET} characters; pass a longer one")
    return found
