"""wiro_async: the async SDK for Wiro. Every public name, and nothing else."""

from importlib import import_module
from typing import TYPE_CHECKING

from wiro_async._api.batch import Batch, BatchItem, BatchStats, RunRequest
from wiro_async._api.journal import Journal, JournalItem
from wiro_async._api.results.async_items import Items
from wiro_async._api.results.byte_stream import ByteStream
from wiro_async._api.results.output import Output
from wiro_async._api.results.task_result import ParsedResult, TaskFinished, TaskResult
from wiro_async._api.tasks.handle import TaskHandle
from wiro_async._api.tasks.task_context import EventStream
from wiro_async._api.tasks.text_deltas import TextDeltas
from wiro_async._api.tasks.text_stream import TextStream
from wiro_async._engine.engine import Statistics
from wiro_async._errors import (
    AnswerError,
    APIError,
    AuthenticationError,
    BatchFailedError,
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
from wiro_async._protocol.conversations.tool_calls import ToolCall, ToolOutput
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.models.model import Model, ModelSection, ModelStats, PriceRule
from wiro_async._protocol.models.parameters import Option, Parameter
from wiro_async._protocol.tasks.events import (
    CostUpdate,
    LogLine,
    Progress,
    Reconnected,
    StatusChanged,
    TaskCancelled,
    TaskEvent,
    TextDelta,
    TextReset,
    UnknownEvent,
)
from wiro_async._protocol.tasks.records import OutputRecord, TaskInfo
from wiro_async._session import AsyncWiro
from wiro_async._tuning import Tuning
from wiro_async._types import File, FileInput, Timeouts
from wiro_async._version import __version__

if TYPE_CHECKING:
    from wiro_async._api.conversation import Conversation, TurnResult, TurnStream
    from wiro_async._api.conversation.realtime_session import RealtimeSession
    from wiro_async._protocol.conversations.realtime_audio import AudioChunk, Transcript, TurnEnded
    from wiro_async._protocol.files.stored_files import Folder, UploadedFile
    from wiro_async._protocol.models.pricing import Estimate

__all__ = [
    "APIError",
    "AnswerError",
    "AsyncWiro",
    "AudioChunk",
    "AuthenticationError",
    "Batch",
    "BatchFailedError",
    "BatchItem",
    "BatchStats",
    "BudgetExceededError",
    "ByteStream",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConnectionFailedError",
    "Conversation",
    "ConversationBusyError",
    "CostUpdate",
    "DecodingError",
    "DownloadError",
    "Estimate",
    "EventStream",
    "File",
    "FileInput",
    "FinishReasonError",
    "Folder",
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
    "Option",
    "Output",
    "OutputRecord",
    "Parameter",
    "ParsedResult",
    "PermissionDeniedError",
    "PriceRule",
    "Progress",
    "RateLimitError",
    "RealtimeClosedError",
    "RealtimeSession",
    "Reconnected",
    "RequestTimeoutError",
    "ResponseFormatError",
    "RetryPolicy",
    "RunRequest",
    "ServerError",
    "SessionClosedError",
    "SpendLimitError",
    "Statistics",
    "StatusChanged",
    "SubmissionUnknownError",
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
    "TurnStream",
    "UnknownEvent",
    "UploadedFile",
    "UsageError",
    "WebhookVerificationError",
    "WiroError",
    "__version__",
]

_HOMES = {  # names that not every program needs; their modules are imported at first use
    "Conversation": "wiro_async._api.conversation",
    "TurnResult": "wiro_async._api.conversation",
    "TurnStream": "wiro_async._api.conversation",
    "RealtimeSession": "wiro_async._api.conversation.realtime_session",
    "Folder": "wiro_async._protocol.files.stored_files",
    "UploadedFile": "wiro_async._protocol.files.stored_files",
    "Estimate": "wiro_async._protocol.models.pricing",
    "AudioChunk": "wiro_async._protocol.conversations.realtime_audio",
    "Transcript": "wiro_async._protocol.conversations.realtime_audio",
    "TurnEnded": "wiro_async._protocol.conversations.realtime_audio",
}


def _named_here(value: object) -> object:
    """Tracebacks and documentation show a class under the name that it is imported by."""
    if isinstance(value, type):
        value.__module__ = __name__
    return value


if not TYPE_CHECKING:  # a type checker would take it for every name there could be

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = _named_here(getattr(import_module(_HOMES[name]), name))
        return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]


for _name in __all__:
    _named_here(globals().get(_name))
