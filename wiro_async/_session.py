"""`AsyncWiro`: wires the parts of a session together, and does nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack, overload

import attrs

from wiro_async._api.batch.batch_factory import new_batch, run_all
from wiro_async._api.batch.batch_options import BatchOptions
from wiro_async._api.keys.keyed_runs import KeyedRuns, required
from wiro_async._api.options import check_options, documented
from wiro_async._api.resources.model_catalog import Models
from wiro_async._api.resources.model_lookup import ModelLookup
from wiro_async._api.resources.run_inputs import RunInputs
from wiro_async._api.results.output import Output, output_at
from wiro_async._api.results.task_result import ParsedResult, TaskResult
from wiro_async._api.run_options import CommonOptions, RealtimeOptions, RunOptions, StreamOptions, SubmitOptions
from wiro_async._api.session_options import (
    USER_AGENT,
    CallOptions,
    Options,
    SessionOptions,
    SharedOptions,
    ViewOptions,
    credentials,
)
from wiro_async._api.tasks.callback_access import CallbackAccess
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.runner import Runner, RunSpec
from wiro_async._api.tasks.task_context import TaskContext
from wiro_async._api.tasks.task_list import Tasks, ref_of
from wiro_async._api.tasks.text_stream import TextStream
from wiro_async._engine.background.background_tasks import Lifeline
from wiro_async._engine.calls.api_client import ApiClient, account_of
from wiro_async._engine.calls.task_calls import TaskCalls
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._engine.engine import Engine, Statistics
from wiro_async._errors import InvalidInputError, UsageError
from wiro_async._errors.clean_tracebacks import cuts_frames
from wiro_async._protocol.tasks.task_ref import TaskRef
from wiro_async._protocol.values.json import JSON
from wiro_async._public import public
from wiro_async._redaction import strip_userinfo
from wiro_async._types import Input

if TYPE_CHECKING:
    from wiro_async._api.batch.batch import Batch
    from wiro_async._api.batch.batch_inputs import Inputs
    from wiro_async._api.conversation.chat import Conversation
    from wiro_async._api.conversation.chat_settings import ChatSettings
    from wiro_async._api.conversation.realtime_session import RealtimeSession
    from wiro_async._api.resources.file_store import Files
    from wiro_async._api.results.answer_reader import ResponseModel, Schema
    from wiro_async._api.results.batch_items import BatchItem, RunRequest
    from wiro_async._api.session_journal import SessionJournal

T = TypeVar("T")


@cuts_frames
@public
@documented(CallOptions, SessionOptions)
class AsyncWiro:
    """A session with Wiro: use it as `async with AsyncWiro() as wiro`, or call `aclose()` when done.

    The constructor opens nothing. A session belongs to the event loop in which it is first used. Any number of tasks of
    that loop may use it.

    Args:
        api_key, api_secret: from WIRO_API_KEY and WIRO_API_SECRET if not given. Calls are signed if there is a secret.
        **options: see `SessionOptions`.

    Raises:
        ConfigurationError: a key is missing or an option is wrong.
    """

    def __init__(
        self, api_key: str | None = None, api_secret: str | None = None, **options: Unpack[SessionOptions]
    ) -> None:
        check_options("AsyncWiro", options, SessionOptions)
        keys = credentials(api_key, api_secret, has_headers=bool(options.get("headers")))
        shared = SharedOptions.of(options)
        engine = Engine(
            shared.socket_url,
            USER_AGENT,
            shared.transport,
            verify=shared.verify,
            max_concurrency=shared.max_concurrency,
            compression=shared.compression,
            tasks_per_socket=shared.tasks_per_socket,
            polls_per_second=shared.polls_per_second,
            tuning=shared.tuning,
        )
        keyed = None if shared.journal is None else KeyedRuns(shared.journal, engine)
        self._wire(engine, shared.base_url, Options.of(keys, options), keyed, None)

    def _wire(
        self, engine: Engine, base_url: str, options: Options, keyed: KeyedRuns | None, origin: AsyncWiro | None
    ) -> None:
        headers = {"User-Agent": USER_AGENT, **options.headers}
        timeout = options.timeout.request
        client = ApiClient(
            base_url,
            options.credentials,
            headers,
            options.retry,
            timeout,
            engine.http,
            engine.throttle,
            engine.server_clock,
            engine.seen_ids[account_of(base_url, options.credentials)],
            engine.tuning,
            engine.open,
        )
        self._engine = engine
        self._base_url = base_url
        self._options = options
        self._origin = origin  # a view keeps its session alive, because the session warns if nobody closes it
        self._closes = origin is None
        calls = TaskCalls(client, engine.tracker.ended)
        self._calls = calls
        self._lifeline: Lifeline = origin._lifeline if origin else Lifeline(engine.background, repr(self))
        self._downloader = Downloader(
            engine.http,
            USER_AGENT,
            timeout,
            engine.tuning,
            options.max_download_bytes,
            self._lifeline,
            options.allow_private,
        )
        self._context = TaskContext(
            calls, engine.tracker, self._downloader, options.updates, options.timeout, self._lifeline
        )
        self._callbacks = CallbackAccess(engine.tracker.callbacks, engine.background, self._context)
        self._lookup: ModelLookup
        if origin is not None and origin._options.credentials == options.credentials:
            self._lookup = origin._lookup.through(client)
        else:
            self._lookup = ModelLookup(client, engine.background, engine.tuning)
        self._runner = Runner(
            engine, self._context, self._lookup, RunInputs(self._lookup, engine.tuning), keyed, options
        )
        self.tasks = Tasks(calls, engine.tuning)
        self.models = Models(client, self._lookup)

    @cached_property
    def files(self) -> Files:
        """Files that are uploaded without a run."""
        from wiro_async._api.resources.file_store import Files

        return Files(self._calls.client)

    @cached_property
    def journal(self) -> SessionJournal:
        """The journal of the session. Raises `UsageError` if it has none."""
        from wiro_async._api.session_journal import SessionJournal

        return SessionJournal(required(self._runner.keyed, "wiro.journal"), self._context)

    def __repr__(self) -> str:
        return f"AsyncWiro({strip_userinfo(self._base_url)!r})"

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
        if getattr(self, "_origin", self) is None:  # neither a view nor half made
            self._lifeline.warn_if_open()

    async def aclose(self) -> None:
        """Close the session: stop the tasks that `run()`, `stream()` and batches still have running, free everything.

        Tasks that `submit()` made go on. Closing a view leaves the session open. Cancelling ends the wait; the session
        still closes.

        Raises:
            SessionClosedError: the session was used in another event loop, and had to be closed there.
        """
        if self._origin is None:
            await self._engine.aclose()

    @documented(ViewOptions, CallOptions)
    def with_options(self, **options: Unpack[ViewOptions]) -> AsyncWiro:
        """Make a view of this session with other options. It shares the session's connections and ends with it.

        None, or nothing, leaves an option as it is.

        Args:
            **options: see `ViewOptions`.

        Raises:
            ConfigurationError: an option is wrong.
        """
        view = object.__new__(type(self))
        view._wire(self._engine, self._base_url, self._options.changed(options), self._runner.keyed, self)
        return view

    def statistics(self) -> Statistics:
        """Count what the session holds at this moment. All zero after `aclose()`."""
        return self._engine.statistics()

    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: None = None, **options: Unpack[RunOptions]
    ) -> TaskResult: ...
    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: type[T], **options: Unpack[RunOptions]
    ) -> ParsedResult[T]: ...
    @overload
    async def run(
        self, model: str, input: Input | None = None, *, response_model: Schema, **options: Unpack[RunOptions]
    ) -> ParsedResult[JSON]: ...
    @documented(CommonOptions, SubmitOptions, StreamOptions, RunOptions)
    async def run(
        self,
        model: str,
        input: Input | None = None,
        *,
        response_model: ResponseModel[T] | None = None,
        **options: Unpack[RunOptions],
    ) -> TaskResult:
        """Run a model and wait for its result. https://wiro.ai/docs/run-a-model

        Cancelling the call, or a timeout, stops the task on the service too, which takes up to 5 s.

        Args:
            model: "owner/model".
            input: the model's parameters. Paths, open binary files and `File`s among them are uploaded.
            response_model: the form of an LLM's answer: an attrs class, a dataclass, a TypedDict, a pydantic model, or
                a JSON schema. The answer is in `result.parsed`. Needs the extra `tools`.
            **options: see `RunOptions`.

        Raises:
            InvalidInputError: the model or an input is wrong. Nothing was sent, or the service refused it.
            KeyConflictError: the journal knows the `key` with another model or input.
            ResponseFormatError: the answer does not fit `response_model`. The error holds its text and its task.
            SubmissionUnknownError: the response to the submit was lost. The run was not sent again.
            UsageError: there is a `key` but no journal.
            TaskFailedError, TaskCancelledError: the task ended without a result.
            TaskTimeoutError: a timeout passed.
        """
        check_options("run", options, RunOptions)
        spec = RunSpec.of(model, input, options)
        timeouts = self._runner.timeouts(options.get("timeout"), options.get("queue_timeout"))
        if response_model is not None:
            return await self._runner.run_parsed(spec, timeouts, options.get("on_event"), response_model)
        return await self._runner.run(spec, timeouts, options.get("on_event"))

    @documented(CommonOptions, SubmitOptions)
    async def submit(self, model: str, input: Input | None = None, **options: Unpack[SubmitOptions]) -> TaskHandle:
        """Start a run and return its handle. The task goes on, whatever happens to this program.

        Cancelling the call *during* the submit stops the task that was being made. Errors as in `run`.

        Args:
            model: "owner/model".
            input: the model's parameters, as in `run`.
            **options: see `SubmitOptions`.
        """
        check_options("submit", options, SubmitOptions)
        return await self._runner.submit(RunSpec.of(model, input, options))

    @documented(CommonOptions, SubmitOptions, StreamOptions)
    def stream(self, model: str, input: Input | None = None, **options: Unpack[StreamOptions]) -> TextStream:
        """Run an LLM and read its text while the model writes it.

        `async with wiro.stream(…) as stream: async for delta in stream: …`, then `await stream.result()`. Leaving the
        block before the end stops the task. Errors as in `run`.

        Args:
            model: "owner/model".
            input: the model's parameters, as in `run`.
            **options: see `StreamOptions`.
        """
        check_options("stream", options, StreamOptions)
        if options.get("key") is not None:
            raise UsageError("stream() takes no key, as a journal keeps no text; use run(key=…), or submit(key=…)")
        timeouts = self._runner.timeouts(options.get("timeout"), options.get("queue_timeout"))
        return TextStream(self._runner, RunSpec.of(model, input, options), timeouts)

    def conversation(
        self,
        model: str,
        session_id: str | None = None,
        *,
        previous_task_token: str | None = None,
        user_id: str | None = None,
        **options: Unpack[ChatSettings],
    ) -> Conversation:
        """Start a conversation with an LLM, which may call tools: `await chat.send("…")`, or `chat.stream("…")`.

        `Conversation` documents the arguments. Makes no request. Raises `InvalidInputError` for wrong options.
        """
        from wiro_async._api.conversation.chat import Conversation

        return Conversation(self._runner, model, session_id, previous_task_token, user_id, options)

    @documented(CommonOptions, RealtimeOptions)
    def realtime(self, model: str, input: Input | None = None, **options: Unpack[RealtimeOptions]) -> RealtimeSession:
        """Talk with a realtime model: `async with wiro.realtime(…) as session: …`. https://wiro.ai/docs/realtime-voice

        Nothing is submitted if the WebSocket cannot be opened. Errors as in `run`.

        Args:
            model: "owner/model".
            input: the model's parameters.
            **options: see `RealtimeOptions`.
        """
        from wiro_async._api.conversation.realtime_session import RealtimeSession

        check_options("realtime", options, RealtimeOptions)
        timeouts = self._runner.timeouts(options.get("timeout"), options.get("queue_timeout"))
        return RealtimeSession(self._runner.without_socket(), RunSpec.of(model, input, options), timeouts)

    def task(self, token: str | None = None, *, task_id: str | None = None) -> TaskHandle:
        """Make a handle for a task from its token or its id, to pick a run up again. Makes no request.

        Args:
            token: the secret token of the task. Digits are taken for an id.
            task_id: the id of the task.
        """
        if not token and not task_id:
            raise InvalidInputError(message="give the token of a task, or its task_id")
        given = ref_of(token) if token else TaskRef()
        return TaskHandle(TaskRef(task_id or given.task_id, given.token), "", self._context)

    async def download(
        self,
        source: str | Output,
        to: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        max_bytes: int | None = None,
        allow_private: bool | None = None,
    ) -> Path:
        """Save an output, or the file at a URL, and return its path. None of your keys is sent.

        Arguments, errors, retries and cancelling as in `Output.save`.

        Args:
            allow_private: False refuses a URL, or a redirect, that leads to this machine or to a private network: give
                it for URLs of your users. The default is that of the session.
        """
        await self._engine.open()
        output = output_at(source, self._downloader) if isinstance(source, str) else source
        if allow_private is not None:
            output = output.fetched_by(attrs.evolve(self._downloader, allow_private=allow_private))
        return await output.save(to, overwrite=overwrite, max_bytes=max_bytes)

    @overload
    def batch(self, model_or_requests: str, inputs: Inputs, **options: Unpack[BatchOptions]) -> Batch: ...
    @overload
    def batch(
        self,
        model_or_requests: Iterable[RunRequest | BatchItem] | AsyncIterable[RunRequest | BatchItem],
        inputs: None = None,
        **options: Unpack[BatchOptions],
    ) -> Batch: ...
    @documented(BatchOptions)
    def batch(
        self,
        model_or_requests: str | Iterable[RunRequest | BatchItem] | AsyncIterable[RunRequest | BatchItem],
        inputs: Inputs | None = None,
        **options: Unpack[BatchOptions],
    ) -> Batch:
        """Run many inputs at a time: `async with wiro.batch(…) as batch: async for item in batch: …`.

        Args:
            model_or_requests: one model for all `inputs`, or an iterable of `RunRequest`s, or of items of an earlier
                batch, which are run again under their keys.
            inputs: a sync or async iterable of parameter mappings (or `RunRequest`s), taken one by one.
            **options: see `BatchOptions`.

        Raises:
            InvalidInputError: an option is wrong. Errors of single items come with the items.
        """
        return new_batch(self._runner, model_or_requests, inputs, options)

    @overload
    async def map(
        self, model: str, inputs: Inputs, *, return_exceptions: Literal[False] = ..., **options: Unpack[BatchOptions]
    ) -> list[TaskResult]: ...
    @overload
    async def map(
        self, model: str, inputs: Inputs, *, return_exceptions: bool, **options: Unpack[BatchOptions]
    ) -> list[TaskResult | Exception]: ...
    @documented(BatchOptions)
    async def map(
        self, model: str, inputs: Inputs, *, return_exceptions: bool = False, **options: Unpack[BatchOptions]
    ) -> list[TaskResult] | list[TaskResult | Exception]:
        """Run many inputs and return their results, in the order of the inputs. Cancelling stops the running tasks.

        Args:
            model: "owner/model".
            inputs: as in `batch`.
            return_exceptions: put errors into the list instead of raising one at the end.
            **options: see `BatchOptions`.

        Raises:
            BatchFailedError: all runs have ended and some failed. Its `items` hold every result that was paid for.
        """
        return await run_all(new_batch(self._runner, model, inputs, options, "map"), return_exceptions)
