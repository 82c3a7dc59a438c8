"""wiro_async: the async SDK for Wiro. Every public name, and nothing else.

A name is imported from its home when it is first used, so a program loads only the parts that it needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiro_async._api.batch.batch import Batch
    from wiro_async._api.batch.batch_inputs import Inputs
    from wiro_async._api.batch.batch_options import BatchOptions, Concurrency, OnError, Order, RetryIf
    from wiro_async._api.batch_report.counters import BatchStats
    from wiro_async._api.batch_report.live_progress import ProgressListener
    from wiro_async._api.conversation.chat import Conversation
    from wiro_async._api.conversation.chat_settings import ChatSettings, TurnSettings
    from wiro_async._api.conversation.realtime_session import RealtimeSession
    from wiro_async._api.conversation.turn_result import TurnResult
    from wiro_async._api.conversation.turn_stream import TurnStream
    from wiro_async._api.journal.journal_reader import Journal, JournalItem
    from wiro_async._api.results.answer_reader import ResponseModel
    from wiro_async._api.results.async_items import Items
    from wiro_async._api.results.batch_items import BatchFailedError, BatchItem, RunRequest
    from wiro_async._api.results.byte_stream import ByteStream
    from wiro_async._api.results.output import Output
    from wiro_async._api.results.task_result import ParsedResult, TaskFinished, TaskResult
    from wiro_async._api.run_options import EventListener, RealtimeOptions, RunOptions, StreamOptions, SubmitOptions
    from wiro_async._api.session_journal import SessionJournal
    from wiro_async._api.session_options import SessionOptions, ViewOptions
    from wiro_async._api.tasks.handle import TaskHandle
    from wiro_async._api.tasks.task_events import EventStream
    from wiro_async._api.tasks.text_deltas import TextDeltas
    from wiro_async._api.tasks.text_stream import TextStream
    from wiro_async._engine.engine import Statistics
    from wiro_async._errors import (
        AnswerError,
        APIError,
        AuthenticationError,
        BudgetExceededError,
        ConcurrencyLimitError,
        ConfigurationError,
        ConnectionFailedError,
        ConversationBusyError,
        DecodingError,
        DownloadError,
        FinishReasonError,
        InsufficientBalanceError,
        InvalidInputError,
        JournalError,
        KeyConflictError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RealtimeClosedError,
        RequestTimeoutError,
        ResponseFormatError,
        ServerError,
        SessionClosedError,
        SpendLimitError,
        SubmissionUnknownError,
        TaskCancelledError,
        TaskError,
        TaskFailedError,
        TaskTimeoutError,
        ToolError,
        TransportError,
        TurnLimitError,
        UsageError,
        WebhookVerificationError,
        WiroError,
    )
    from wiro_async._protocol.conversations.realtime_audio import AudioChunk, TurnEnded
    from wiro_async._protocol.files.stored_files import Folder, UploadedFile
    from wiro_async._protocol.http.retry import RetryPolicy
    from wiro_async._protocol.messages.tool_calls import ToolCall, ToolOutput
    from wiro_async._protocol.models.model import Model, ModelSection, ModelStats, PriceRule
    from wiro_async._protocol.models.parameters import Option, Parameter
    from wiro_async._protocol.models.pricing import Estimate
    from wiro_async._protocol.tasks.events import (
        CostUpdate,
        LogLine,
        Progress,
        Reconnected,
        StatusChanged,
        TaskCancelled,
        TextDelta,
        TextReset,
        UnknownEvent,
    )
    from wiro_async._records.task_event import TaskEvent, Transcript
    from wiro_async._records.task_info import OutputRecord, TaskInfo
    from wiro_async._session import AsyncWiro
    from wiro_async._transport.network.tls import Verify
    from wiro_async._tuning import Tuning
    from wiro_async._types import (
        CallbackURL,
        File,
        FileInput,
        Input,
        OnCancel,
        OnProgress,
        OnUnknown,
        TimeoutPhase,
        Timeouts,
        UpdateMode,
    )
    from wiro_async._version import __version__

__all__ = [
    "APIError",
    "AnswerError",
    "AsyncWiro",
    "AudioChunk",
    "AuthenticationError",
    "Batch",
    "BatchFailedError",
    "BatchItem",
    "BatchOptions",
    "BatchStats",
    "BudgetExceededError",
    "ByteStream",
    "CallbackURL",
    "ChatSettings",
    "Concurrency",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConnectionFailedError",
    "Conversation",
    "ConversationBusyError",
    "CostUpdate",
    "DecodingError",
    "DownloadError",
    "Estimate",
    "EventListener",
    "EventStream",
    "File",
    "FileInput",
    "FinishReasonError",
    "Folder",
    "Input",
    "Inputs",
    "InsufficientBalanceError",
    "InvalidInputError",
    "Items",
    "Journal",
    "JournalError",
    "JournalItem",
    "KeyConflictError",
    "LogLine",
    "Model",
    "ModelSection",
    "ModelStats",
    "NotFoundError",
    "OnCancel",
    "OnError",
    "OnProgress",
    "OnUnknown",
    "Option",
    "Order",
    "Output",
    "OutputRecord",
    "Parameter",
    "ParsedResult",
    "PermissionDeniedError",
    "PriceRule",
    "Progress",
    "ProgressListener",
    "RateLimitError",
    "RealtimeClosedError",
    "RealtimeOptions",
    "RealtimeSession",
    "Reconnected",
    "RequestTimeoutError",
    "ResponseFormatError",
    "ResponseModel",
    "RetryIf",
    "RetryPolicy",
    "RunOptions",
    "RunRequest",
    "ServerError",
    "SessionClosedError",
    "SessionJournal",
    "SessionOptions",
    "SpendLimitError",
    "Statistics",
    "StatusChanged",
    "StreamOptions",
    "SubmissionUnknownError",
    "SubmitOptions",
    "TaskCancelled",
    "TaskCancelledError",
    "TaskError",
    "TaskEvent",
    "TaskFailedError",
    "TaskFinished",
    "TaskHandle",
    "TaskInfo",
    "TaskResult",
    "TaskTimeoutError",
    "TextDelta",
    "TextDeltas",
    "TextReset",
    "TextStream",
    "TimeoutPhase",
    "Timeouts",
    "ToolCall",
    "ToolError",
    "ToolOutput",
    "Transcript",
    "TransportError",
    "Tuning",
    "TurnEnded",
    "TurnLimitError",
    "TurnResult",
    "TurnSettings",
    "TurnStream",
    "UnknownEvent",
    "UpdateMode",
    "UploadedFile",
    "UsageError",
    "Verify",
    "ViewOptions",
    "WebhookVerificationError",
    "WiroError",
    "__version__",
]

_HOMES = {  # of all public names but most errors
    "_api.batch.batch": ("Batch",),
    "_api.batch.batch_inputs": ("Inputs",),
    "_api.batch.batch_options": ("BatchOptions", "Concurrency", "OnError", "Order", "RetryIf"),
    "_api.batch_report.counters": ("BatchStats",),
    "_api.batch_report.live_progress": ("ProgressListener",),
    "_api.conversation.chat": ("Conversation",),
    "_api.conversation.chat_settings": ("ChatSettings", "TurnSettings"),
    "_api.conversation.realtime_session": ("RealtimeSession",),
    "_api.conversation.turn_result": ("TurnResult",),
    "_api.conversation.turn_stream": ("TurnStream",),
    "_api.journal.journal_reader": ("Journal", "JournalItem"),
    "_api.session_journal": ("SessionJournal",),
    "_api.results.answer_reader": ("ResponseModel",),
    "_api.results.async_items": ("Items",),
    "_api.results.batch_items": ("BatchFailedError", "BatchItem", "RunRequest"),
    "_api.results.byte_stream": ("ByteStream",),
    "_api.results.output": ("Output",),
    "_api.results.task_result": ("ParsedResult", "TaskFinished", "TaskResult"),
    "_api.run_options": ("EventListener", "RealtimeOptions", "RunOptions", "StreamOptions", "SubmitOptions"),
    "_api.session_options": ("SessionOptions", "ViewOptions"),
    "_api.tasks.handle": ("TaskHandle",),
    "_api.tasks.task_events": ("EventStream",),
    "_api.tasks.text_deltas": ("TextDeltas",),
    "_api.tasks.text_stream": ("TextStream",),
    "_engine.engine": ("Statistics",),
    "_protocol.conversations.realtime_audio": ("AudioChunk", "TurnEnded"),
    "_protocol.files.stored_files": ("Folder", "UploadedFile"),
    "_protocol.http.retry": ("RetryPolicy",),
    "_protocol.messages.tool_calls": ("ToolCall", "ToolOutput"),
    "_protocol.models.model": ("Model", "ModelSection", "ModelStats", "PriceRule"),
    "_protocol.models.parameters": ("Option", "Parameter"),
    "_protocol.models.pricing": ("Estimate",),
    "_protocol.tasks.events": (
        "CostUpdate",
        "LogLine",
        "Progress",
        "Reconnected",
        "StatusChanged",
        "TaskCancelled",
        "TextDelta",
        "TextReset",
        "UnknownEvent",
    ),
    "_records.task_event": ("TaskEvent", "Transcript"),
    "_records.task_info": ("OutputRecord", "TaskInfo"),
    "_session": ("AsyncWiro",),
    "_transport.network.tls": ("Verify",),
    "_tuning": ("Tuning",),
    "_types": (
        "CallbackURL",
        "File",
        "FileInput",
        "Input",
        "OnCancel",
        "OnProgress",
        "OnUnknown",
        "TimeoutPhase",
        "Timeouts",
        "UpdateMode",
    ),
    "_version": ("__version__",),
}

if not TYPE_CHECKING:  # a type checker would believe that any name exists

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((home for home, names in _HOMES.items() if name in names), "_errors")
        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    return __all__
