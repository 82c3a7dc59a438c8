"""`AsyncWiro`: the one place that wires everything together."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterable, Iterable, Mapping
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack, overload

from wiro_async._api import session_options as settings
from wiro_async._api.batch import Batch, BatchOptions, Runs
from wiro_async._api.resources.model_catalog import Models
from wiro_async._api.resources.task_list import Tasks
from wiro_async._api.results.output import Output
from wiro_async._api.results.task_result import ParsedResult, TaskResult
from wiro_async._api.session_options import USER_AGENT, OptionChanges, Options
from wiro_async._api.tasks.callback_access import CallbackAccess
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.run_spec import Listener, Runner, RunSettings, RunSpec
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._api.tasks.text_stream import TextStream
from wiro_async._engine.calls.sender import Sender
from wiro_async._engine.calls.task_calls import TaskCalls, TaskRef
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._engine.engine import Engine, Statistics
from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.values.json import JSON
from wiro_async._redaction import without_login
from wiro_async._tuning import Tuning
from wiro_async._types import CallbackURL, CheckInputs, Input, OnCancel, OnUnknown, UpdateMode, Timeouts

if TYPE_CHECKING:  # conversations, realtime sessions and forms of answers are imported at first use
    import httpx

    from wiro_async._api.batch import (
        BatchItem,
        BatchSettings,
        Concurrency,
        Inputs,
        OnError,
        Order,
        ProgressListener,
        RetryIf,
        RunRequest,
    )
    from wiro_async._api.conversation import ChatSettings, Conversation
    from wiro_async._api.conversation.answer_reader import ResponseModel, Schema
    from wiro_async._api.conversation.realtime_session import RealtimeSession
    from wiro_async._api.resources.file_store import Files
    from wiro_async._transport.tls import Verify

T = TypeVar("T")


class AsyncWiro:
    """A session with Wiro: use it as `async with AsyncWiro() as wiro`, or call `aclose()` when done.

    Constructing it opens nothing. It belongs to the event loop in which it is first used, and may be used by any
    number of tasks there.

    Args:
        api_key, api_secret: from WIRO_API_KEY and WIRO_API_SECRET if not given. Calls are signed if there is a secret.
        base_url, socket_url: from WIRO_API_BASE_URL and WIRO_SOCKET_URL, else the service's own.
        headers: sent along with every call to the API, for instance to a proxy of yours that adds the key.
        progress: how runs are followed: "auto" (by the socket, else by polling), "websocket", "polling", or "sse"
            (each run's own answer is an event stream; if it breaks, as "auto").
        max_concurrency: how many tasks may be in flight; if not given, the service's refusals teach it.
        timeout: seconds for each run, or `Timeouts`.
        retry: how harmless calls are repeated; a run never is.
        on_unknown: "resubmit" sends a run again if its answer was lost and its task is not to be found after a grace.
            It may be billed twice then; "raise" gives a `SubmissionUnknownError` instead.
        check_inputs: "auto" checks inputs and sends files as the model's own parameters say, where the session knows
            them from `models.get`; True asks for them before the first run of each model; False does neither.
        verify: whose certificates to trust, for HTTP and sockets alike: True for the usual authorities (or those of
            SSL_CERT_FILE and SSL_CERT_DIR), the path of a file or directory of certificates for those and no others,
            an `ssl.SSLContext` of your own, or False for anybody.
        max_download_bytes: the most bytes that any one output may have, to be read, streamed or saved.
        callback_url: where the service reports the ends of all runs that are not given an address of their own; or a
            function that gives one for each run, such as `receiver.at("https://my.app/wiro")`. Runs that report to a
            `WebhookReceiver` of this session are waited for without a socket.
        transport: an httpx transport to use instead of the built-in one; it is closed with the session.
        compression: whether the socket compresses: 7 to 20 times fewer bytes for LLMs' texts, at up to twice the
            processor time where they are read and four times where not. Worth it for long answers over slow lines.
        tasks_per_socket: how many tasks share one socket.
        polls_per_second: how often tasks are asked about at most, all together; the first question about a task that
            says it is over does not count.
        tuning: the timing, sizes and limits of the session, for tests that cannot wait.

    Raises:
        ConfigurationError: a key is missing or a setting is wrong.
    """

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        base_url: str | None = None,
        socket_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        progress: UpdateMode = "auto",
        max_concurrency: int | None = None,
        timeout: float | Timeouts | None = None,
        retry: RetryPolicy | None = None,
        on_unknown: OnUnknown = "raise",
        check_inputs: CheckInputs = "auto",
        verify: Verify = True,
        max_download_bytes: int | None = None,
        callback_url: CallbackURL | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        compression: bool = False,
        tasks_per_socket: int = 1000,
        polls_per_second: float = 100.0,
        tuning: Tuning | None = None,
    ) -> None:
        options = Options(
            settings.credentials(api_key, api_secret, bool(headers)),
            headers or {},
            progress,
            Timeouts.of(timeout, Timeouts()),
            retry or RetryPolicy(),
            on_unknown,
            check_inputs,
            max_download_bytes,
            callback_url,
        )
        engine = Engine(
            settings.socket_url(socket_url),
            USER_AGENT,
            transport,
            verify=verify,
            max_concurrency=settings.checked_count(max_concurrency, "max_concurrency"),
            compression=compression,
            tasks_per_socket=settings.checked_count(tasks_per_socket, "tasks_per_socket") or 1,
            polls_per_second=settings.checked_rate(polls_per_second, "polls_per_second"),
            tuning=tuning or Tuning(),
        )
        self._set_up(engine, settings.base_url(base_url), options, None)

    def _set_up(self, engine: Engine, base_url: str, options: Options, origin: AsyncWiro | None) -> None:
        headers = {"User-Agent": USER_AGENT, **options.headers}
        sender = Sender(
            base_url,
            options.credentials,
            headers,
            options.retry,
            options.timeouts.request,
            engine.http,
            engine.pace,
            engine.open,
        )
        self._engine = engine
        self._base_url = base_url
        self._options = options
        self._origin = origin  # a view keeps it, for it is what warns when nobody closes it
        self._closes = origin is None
        self._calls = TaskCalls(sender, engine.running.over)
        self._downloader = Downloader(engine.http, USER_AGENT, options.timeouts.request, options.max_download_bytes)
        self._context = TaskContext(self._calls, engine.tracker, self._downloader, options.progress, options.timeouts)
        self.tasks = Tasks(self._calls)
        self._callbacks = CallbackAccess(engine.callbacks, engine.background, self._context)
        is_same = origin is not None and origin._options.credentials == options.credentials
        self.models: Models = origin.models.sharing(sender) if origin and is_same else Models(sender, engine.background)
        self._runner = Runner(engine, self._context, self.models, options)

    @cached_property
    def files(self) -> Files:
        """What is uploaded without a run."""
        from wiro_async._api.resources.file_store import Files

        return Files(self._calls.sender)

    def __repr__(self) -> str:
        return f"AsyncWiro({without_login(self._base_url)!r})"

    async def __aenter__(self) -> Self:
        self._closes = self._closes or not self._engine.background.is_open  # a view on a session that nobody entered
        await self._engine.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._closes:
            await self._engine.aclose()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and self._origin is None and engine.background.is_open:
            warnings.warn(
                f"{self!r} was not closed: use `async with`, or await aclose()", ResourceWarning, stacklevel=2
            )

    async def aclose(self) -> None:
        """Close the session: stop what `run()`, `stream()` and batches still have running, free everything.

        Tasks that were made by `submit()` go on. A view made by `with_options` leaves the session open. Cancelling
        ends the wait; the closing goes on.

        Raises:
            SessionClosedError: it was used in another event loop, and had to be closed there.
        """
        if self._origin is None:
            await self._engine.aclose()

    def with_options(self, **changes: Unpack[OptionChanges]) -> AsyncWiro:
        """A view on this session with other options, which shares its connections and ends with it.

        Takes `api_key`, `api_secret`, `headers`, `progress`, `timeout`, `retry`, `on_unknown`, `check_inputs`,
        `max_download_bytes` and `callback_url`, as for a new session. `headers` are added to the session's own; a key
        that is given without a secret is used without one. None, or nothing, leaves an option as it is.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        view = object.__new__(type(self))
        view._set_up(self._engine, self._base_url, self._options.changed(changes), self)
        return view

    def statistics(self) -> Statistics:
        """What the session holds at this moment; all zero after `aclose()`."""
        return self._engine.statistics()

    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: None = None, **settings: Unpack[RunSettings]
    ) -> TaskResult: ...
    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: type[T], **settings: Unpack[RunSettings]
    ) -> ParsedResult[T]: ...
    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: Schema, **settings: Unpack[RunSettings]
    ) -> ParsedResult[JSON]: ...
    async def run(
        self,
        model: str,
        input: Input | None = None,
        *,
        timeout: float | Timeouts | None = None,
        queue_timeout: float | None = None,
        callback_url: str | None = None,
        project_id: str | int | None = None,
        on_event: Listener | None = None,
        on_cancel: OnCancel = "stop",
        check: bool | None = None,
        response_model: ResponseModel[T] | None = None,
    ) -> TaskResult:
        """Run a model and wait for its result. https://wiro.ai/docs/run-a-model

        Cancelling it, and a time-out, stops the task on the service too, which takes up to 5 s.

        Args:
            model: "owner/model".
            input: the model's parameters. Paths, open binary files and `File`s among them are uploaded.
            timeout: seconds for the whole run, or `Timeouts`; the session's if not given.
            queue_timeout: seconds until it must have started.
            callback_url: where the service reports its end.
            project_id: the project to bill.
            on_event: called with every event; may be a coroutine function.
            on_cancel: "leave" lets the task go on when this is cancelled or out of time.
            check: True finds all that is wrong with the input by the model's own parameters, which are asked for
                once, before anything is sent; False finds no fault; if not given, as the session's `check_inputs`.
            response_model: what an LLM's answer is to be: an attrs class, a dataclass, a TypedDict, a pydantic model,
                or a JSON schema; it comes as `result.parsed`. Needs the extra `tools`.

        Raises:
            InvalidInputError: the model or an input is wrong; nothing was sent, or the service refused it.
            ResponseFormatError: the answer does not fit `response_model`; the error holds its text and its task.
            SubmissionUnknownError: the answer to the submit was lost; it was not sent again.
            TaskFailedError, TaskCancelledError: it ended without a result.
            TaskTimeoutError: a time-out passed.
        """
        spec = RunSpec(model, input, callback_url, project_id, on_cancel, check)
        timeouts = self._runner.timeouts(timeout, queue_timeout)
        if response_model is not None:
            return await self._runner.run_parsed(spec, timeouts, on_event, response_model)
        return await self._runner.run(spec, timeouts, on_event)

    async def submit(
        self,
        model: str,
        input: Input | None = None,
        *,
        callback_url: str | None = None,
        project_id: str | int | None = None,
        check: bool | None = None,
    ) -> TaskHandle:
        """Start a run and hand over its handle, which owns it: it goes on whatever happens here.

        Cancelling it *during* the submit stops the task that was being made. Arguments and errors as in `run`.
        """
        return await self._runner.submit(RunSpec(model, input, callback_url, project_id, check=check))

    def stream(
        self,
        model: str,
        input: Input | None = None,
        *,
        timeout: float | Timeouts | None = None,
        queue_timeout: float | None = None,
        callback_url: str | None = None,
        project_id: str | int | None = None,
        on_cancel: OnCancel = "stop",
        check: bool | None = None,
    ) -> TextStream:
        """Run an LLM and read its text as it is written.

        `async with wiro.stream(…) as stream: async for delta in stream: …`, then `await stream.result()`. Leaving
        it before the end stops the task. Arguments and errors as in `run`.
        """
        spec = RunSpec(model, input, callback_url, project_id, on_cancel, check)
        return TextStream(self._runner, spec, self._runner.timeouts(timeout, queue_timeout))

    def conversation(
        self,
        model: str,
        session_id: str | None = None,
        *,
        previous_task_token: str | None = None,
        user_id: str | None = None,
        **settings: Unpack[ChatSettings],
    ) -> Conversation:
        """A conversation with an LLM, which may call tools: `await chat.send("…")`, or `chat.stream("…")`.

        `Conversation` tells what the arguments mean. Makes no request. Raises `InvalidInputError` for wrong settings.
        """
        from wiro_async._api.conversation import Conversation

        return Conversation(self._runner, model, session_id, previous_task_token, user_id, settings)

    def realtime(
        self,
        model: str,
        input: Input | None = None,
        *,
        timeout: float | Timeouts | None = None,
        queue_timeout: float | None = None,
        project_id: str | int | None = None,
        check: bool | None = None,
    ) -> RealtimeSession:
        """Talk with a realtime model: `async with wiro.realtime(…) as session: …`. https://wiro.ai/docs/realtime-voice

        Nothing is submitted if no socket can be opened. Arguments and errors as in `run`, but that `queue_timeout`
        counts until the model is ready for audio.
        """
        from wiro_async._api.conversation.realtime_session import RealtimeSession

        timeouts = Timeouts.of(timeout, self._options.timeouts).with_queue(queue_timeout)
        spec = RunSpec(model, input, None, project_id, check=check)
        return RealtimeSession(self._runner.without_socket(), spec, timeouts)

    def task(self, token: str | None = None, *, taskid: str | None = None) -> TaskHandle:
        """Pick up a run again from its token, or its id. Makes no request."""
        if not token and not taskid:
            raise InvalidInputError(message="give the token of a task, or its taskid")
        return TaskHandle(TaskRef(taskid or None, token or None), "", self._context)

    async def download(
        self,
        source: str | Output,
        to: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        max_bytes: int | None = None,
    ) -> Path:
        """Save an output, or the file at a URL, and return where it now lies. No key of yours goes along.

        Arguments, errors, patience and cancelling as in `Output.save`.
        """
        await self._engine.open()
        output = Output.at(source, self._downloader) if isinstance(source, str) else source
        return await output.save(to, overwrite=overwrite, max_bytes=max_bytes)

    @overload
    def batch(
        self,
        model_or_requests: str,
        inputs: Inputs,
        **settings: Unpack[BatchSettings],
    ) -> Batch: ...
    @overload
    def batch(
        self,
        model_or_requests: Iterable[RunRequest | BatchItem] | AsyncIterable[RunRequest | BatchItem],
        inputs: None = None,
        **settings: Unpack[BatchSettings],
    ) -> Batch: ...
    def batch(
        self,
        model_or_requests: str | Iterable[RunRequest | BatchItem] | AsyncIterable[RunRequest | BatchItem],
        inputs: Inputs | None = None,
        *,
        concurrency: Concurrency = "auto",
        order: Order = "completed",
        window: int | None = None,
        retries: int = 0,
        retry_if: RetryIf | None = None,
        on_error: OnError = "continue",
        on_exit: OnCancel = "stop",
        journal: str | os.PathLike[str] | None = None,
        journal_grace: float = 10.0,
        budget: Decimal | int | str | None = None,
        save_to: str | os.PathLike[str] | None = None,
        progress: bool | ProgressListener | None = None,
        timeout: float | Timeouts | None = None,
        queue_timeout: float | None = None,
    ) -> Batch:
        """Run many inputs at a time: `async with wiro.batch(…) as batch: async for item in batch: …`.

        Args:
            model_or_requests: one model for all `inputs`, or an iterable of `RunRequest`s, or of items of an earlier
                batch, which are run anew under their keys.
            inputs: a sync or async iterable of parameter mappings (or `RunRequest`s), taken one by one.
            concurrency: how many run at a time; "auto" leaves it to the session, which learns what the service allows.
            order: give items as they are "completed", or in "input" order.
            window: in "input" order, how many items may be ahead of the one that is given next; then no input is taken.
            retries: how often a failed task is run anew; each is a new bill.
            retry_if: which failures are worth it; all, if not given. May be a coroutine function.
            on_error: "stop" sends nothing more after the first failed item: what was sent is finished and given,
                what was taken and not sent is dropped.
            on_exit: "leave" lets running tasks go on when the batch is left.
            journal: a file in which every item is written down before it is sent. Started again with it, even after
                `kill -9`, the batch gives back what has ended, follows what runs, and submits only the rest.
                Items that failed come back as failed while their attempts are used up: raise `retries`, or give the
                items themselves, to run them anew. Holds tokens and results; only its owner can read it.
            journal_grace: seconds from opening it after which a run of which an earlier process did not see the
                answer, and which the service does not list, counts as never sent.
            budget: US dollars. A run is submitted only if what is spent, reserved for runs in flight and estimated
                for it fits; the rest comes as skipped items with `BudgetExceededError`, or is not taken where nobody
                knows how many inputs there are. A run may cost more than its estimate (the model's price, if that is
                not exact at least the mean so far; one runs alone if nothing is known): the overshoot is at most what
                the runs in flight cost beyond their estimates. A run whose end is not seen counts with its estimate.
                With a journal, earlier processes' costs count.
            save_to: a directory into which outputs are downloaded as items end, as "{key}-{number}.{suffix}". A file
                of somebody else's that has this name keeps it.
            progress: True shows a live display; a function, or a coroutine function, gets `BatchStats` now and then.
            timeout, queue_timeout: of each run that has none of its own, as in `run`.

        Raises:
            InvalidInputError: an option is wrong. Errors of single items come with the items.
        """
        model = model_or_requests if isinstance(model_or_requests, str) else None
        wanted = inputs if isinstance(model_or_requests, str) else model_or_requests
        if wanted is None or (model is None and inputs is not None):
            raise InvalidInputError(message="give batch(model, inputs) or batch(requests), and nothing beside requests")
        options = BatchOptions.of(
            concurrency,
            order,
            window,
            retries,
            retry_if,
            on_error,
            on_exit,
            journal,
            journal_grace,
            budget,
            save_to,
            progress,
        )
        engine = self._engine
        runner = self._runner
        context = self._context.within(runner.timeouts(timeout, queue_timeout))
        runs = Runs(runner.plan_item, context, engine.submitter, engine.stopper, on_exit)
        return Batch(runs, engine.background, engine.open, model, wanted, options, runner.estimate_item)

    @overload
    async def map(
        self,
        model: str,
        inputs: Inputs,
        *,
        concurrency: Concurrency = ...,
        return_exceptions: Literal[False] = ...,
        timeout: float | Timeouts | None = ...,
    ) -> list[TaskResult]: ...
    @overload
    async def map(
        self,
        model: str,
        inputs: Inputs,
        *,
        concurrency: Concurrency = ...,
        return_exceptions: bool,
        timeout: float | Timeouts | None = ...,
    ) -> list[TaskResult | Exception]: ...
    async def map(
        self,
        model: str,
        inputs: Inputs,
        *,
        concurrency: Concurrency = "auto",
        return_exceptions: bool = False,
        timeout: float | Timeouts | None = None,
    ) -> list[TaskResult] | list[TaskResult | Exception]:
        """The results of many inputs, in their order.

        The first error, whichever input it is of, ends it and stops what still runs; `return_exceptions` puts errors
        into the list instead. Cancelling stops what runs. Arguments as in `batch`.
        """
        ended: dict[int, TaskResult | Exception] = {}
        async with self.batch(model, inputs, concurrency=concurrency, timeout=timeout) as batch:
            async for item in batch:
                if item.error is not None and not return_exceptions:
                    raise item.error
                ended[item.index] = item.result or item.error  # type: ignore[assignment]
        return [ended[index] for index in sorted(ended)]
