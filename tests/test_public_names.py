"""The names that users see: what they are called, where they say they come from, and what `help` shows of them."""

import inspect
import pickle
import pydoc
import subprocess
import sys
from collections.abc import Callable

import attrs
import pytest

import wiro_async
from wiro_async import (
    AsyncWiro,
    Batch,
    BatchItem,
    BatchOptions,
    Output,
    RealtimeOptions,
    RunOptions,
    SessionOptions,
    StreamOptions,
    SubmitOptions,
    TaskError,
    TaskHandle,
    TaskInfo,
    TaskResult,
    WiroError,
)
from wiro_async._api.resources.file_store import Files
from wiro_async._api.resources.model_catalog import Models
from wiro_async._api.tasks.task_list import Tasks

CLASSES = [kind for name in wiro_async.__all__ if inspect.isclass(kind := getattr(wiro_async, name))]
INTERNAL = ("from_wire", "of", "ref", "result_since", "events_since")
EVENTS = (
    "StatusChanged Progress TextDelta TextReset LogLine ToolCall CostUpdate Reconnected TaskFinished TaskCancelled "
    "UnknownEvent"
)
ERRORS = (
    "WiroError ConfigurationError UsageError TransportError ConnectionFailedError RequestTimeoutError DecodingError "
    "APIError AuthenticationError PermissionDeniedError InvalidInputError NotFoundError ConcurrencyLimitError "
    "InsufficientBalanceError SpendLimitError RateLimitError ServerError SubmissionUnknownError TaskError "
    "TaskFailedError TaskCancelledError TaskTimeoutError DownloadError BudgetExceededError BatchFailedError "
    "JournalError KeyConflictError WebhookVerificationError"
)


def run(script: str) -> str:
    """The output of a script in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


def parameters(function: Callable[..., object]) -> list[str]:
    """The names of the parameters, without `self`."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_the_package_shows_public_names_only() -> None:
    """Before any of them is used, and after all of them are."""
    script = "import wiro_async; print(*dir(wiro_async)); [getattr(wiro_async, n) for n in dir(wiro_async)]; "
    before, after = run(f"{script}print(*dir(wiro_async))").splitlines()
    assert before == after
    assert all(name == "__version__" or not name.startswith("_") for name in before.split())


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_pickles_by_its_public_name(kind: type) -> None:
    """What another version of the package pickled can be read, wherever the class lies there."""
    assert kind.__module__ == "wiro_async"
    assert b"wiro_async._" not in pickle.dumps(kind)


def test_a_class_says_where_users_find_it_before_its_first_use() -> None:
    """A traceback shows the name of an error that nobody has imported from the package."""
    assert run("from wiro_async._errors.task_errors import TaskFailedError as E; print(E.__module__)") == "wiro_async\n"
    assert run("from wiro_async._records.task_info import TaskInfo as E; print(E.__module__)") == "wiro_async\n"


def test_importing_the_package_imports_no_library() -> None:
    """Not even those that are light."""
    libraries = "httpx httpcore websockets msgspec anyio attr attrs sniffio certifi"
    loaded = set(run("import wiro_async, sys; print(*sys.modules)").split())
    assert not loaded & set(libraries.split())


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_has_no_internal_methods(kind: type) -> None:
    """What only this package calls is private, or a function."""
    assert not {name for name in INTERNAL if hasattr(kind, name)}


@pytest.mark.parametrize(
    "function, options",
    [
        (AsyncWiro, SessionOptions),
        (AsyncWiro.run, RunOptions),
        (AsyncWiro.submit, SubmitOptions),
        (AsyncWiro.stream, StreamOptions),
        (AsyncWiro.realtime, RealtimeOptions),
        (AsyncWiro.batch, BatchOptions),
        (AsyncWiro.map, BatchOptions),
    ],
)
def test_help_names_every_option(function: Callable[..., object], options: type) -> None:
    """With its line of documentation."""
    shown = pydoc.plain(pydoc.render_doc(function))
    documented = {name for line in shown.splitlines() for name in line.strip(" |").partition(":")[0].split(", ")}
    assert options.__annotations__.keys() <= documented


@pytest.mark.parametrize(
    "function, names",
    [
        (AsyncWiro, "api_key api_secret"),
        (AsyncWiro.run, "model input response_model"),
        (AsyncWiro.submit, "model input"),
        (AsyncWiro.stream, "model input"),
        (AsyncWiro.task, "token task_id"),
        (AsyncWiro.batch, "model_or_requests inputs"),
        (AsyncWiro.map, "model inputs return_exceptions"),
        (AsyncWiro.realtime, "model input"),
        (AsyncWiro.conversation, "model"),
        (AsyncWiro.aclose, ""),
        (AsyncWiro.with_options, ""),
        (AsyncWiro.statistics, ""),
        (Tasks.get, "ref"),
        (Tasks.list, ""),
        (Tasks.cancel, "ref"),
        (Tasks.delete_files, "ref"),
        (Models.list, ""),
        (Models.search, ""),
        (Models.get, "model"),
        (Models.explore, ""),
        (Models.estimate, "model input count"),
        (Models.validate, "model input"),
        (Files.upload, "file folder_id on_progress"),
        (Files.create_folder, "name parent_id"),
        (TaskHandle.result, "timeout"),
        (TaskHandle.events, ""),
        (TaskHandle.text_deltas, ""),
        (TaskHandle.info, ""),
        (TaskHandle.cancel, ""),
        (TaskHandle.delete_files, ""),
        (Output.read, ""),
        (Output.stream, ""),
        (Output.save, "to"),
        (TaskResult.save, "directory"),
        (Batch.results, ""),
    ],
)
def test_signatures(function: Callable[..., object], names: str) -> None:
    """The parameters that the documentation names."""
    assert set(names.split()) <= set(parameters(function))


@pytest.mark.parametrize(
    "options, names",
    [
        (
            SessionOptions,
            "base_url socket_url headers updates max_concurrency timeout retry on_unknown validate callback_url verify "
            "max_download_bytes transport",
        ),
        (RunOptions, "timeout queue_timeout callback_url project_id on_event on_cancel validate"),
        (BatchOptions, "concurrency order retries on_error on_exit journal budget save_to progress"),
    ],
)
def test_options(options: type, names: str) -> None:
    """The options that the documentation names."""
    assert set(names.split()) <= options.__annotations__.keys()


def test_attributes() -> None:
    """What users read of a task, an item and an error."""
    infos = "id token model status exit_code parameters outputs started_at ended_at elapsed cost log error_log raw"
    assert set(infos.split()) <= {field.name for field in attrs.fields(TaskInfo)}
    assert {"index", "key", "input", "result", "error", "attempts", "saved"} <= set(dir(BatchItem))
    assert {"model", "task_id", "token"} <= set(dir(WiroError))
    assert TaskError("gone").info is None
    results = "output text thinking segments tool_calls finish_reason usage cost elapsed"
    assert set(results.split()) <= set(dir(TaskResult))


def test_events_and_errors() -> None:
    """By their names, all of one family."""
    assert all(issubclass(getattr(wiro_async, name), wiro_async.TaskEvent) for name in EVENTS.split())
    assert all(issubclass(getattr(wiro_async, name), WiroError) for name in ERRORS.split())


def test_old_names_are_gone() -> None:
    """One thing has one name."""
    assert not {"check", "check_inputs"} & (RunOptions.__annotations__.keys() | SessionOptions.__annotations__.keys())
    assert "progress" not in SessionOptions.__annotations__
    assert not {"stop", "kill"} & set(dir(TaskHandle) + dir(Tasks))
    assert not {"Task", "TaskRecord", "RunError"} & set(wiro_async.__all__)
