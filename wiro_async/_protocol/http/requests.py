"""Build requests: one function for each endpoint of tasks. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.values.json import JSON, check_encodable, encode, to_json
from wiro_async._types import File

EVENTS = "/sync?stream=true"
Part: TypeAlias = "tuple[str, str | File]"
PLAIN = frozenset({str, int, bool, type(None)})
ONE = (str, bytes, bytearray, memoryview)  # sequences that are one value


@attrs.frozen
class Request:
    """One call, before it is signed and sent."""

    path: str  # below the base URL, percent-encoded
    body: bytes = attrs.field(default=b"{}", repr=False)  # the JSON body, if it is not multipart
    parts: tuple[Part, ...] | None = attrs.field(default=None, repr=False)  # the fields and files of a multipart body
    repeatable: bool = True  # whether the request is idempotent

    @property
    def endpoint(self) -> str:
        """The path without the model, such as "Run" or "Task/Detail"."""
        return "Run" if self.path.startswith("Run/") else self.path

    @property
    def is_replayable(self) -> bool:
        """Whether the body can be produced again after it was sent."""
        return not any(isinstance(value, File) and _is_one_shot(value.data) for _, value in self.parts or ())


@attrs.frozen
class RunInput:
    """The checked parameters of a run: plain JSON values, and files.

    Attributes:
        combined: the files and URLs of parameters that take both under one name, in their order.
    """

    values: dict[str, JSON]
    files: tuple[tuple[str, File], ...] = ()
    combined: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything that makes the request multipart."""
        return (*self.files, *self.combined)

    @classmethod
    def parse(cls, given: Mapping[str, object] | None) -> RunInput:
        """Sort an input into values and files. Raises `InvalidInputError` for what cannot be sent."""
        values: dict[str, JSON] = {}
        files: list[tuple[str, File]] = []

        def add(name: str, value: JSON) -> None:
            if name in values:
                raise InvalidInputError(message=f"{name} is given twice: on its own, and as URLs beside files")
            values[name] = value

        for name, value in to_mapping(given).items():
            if not isinstance(name, str):
                raise InvalidInputError(message=f"input has the key {name!r}; parameter names are strings")
            check_encodable(name, f"the parameter name {name!r}")
            items = () if type(value) in PLAIN else list_items(value) or (value,)
            if not any(map(is_file, items)):
                try:
                    add(name, to_json(value, name))
                except RecursionError:
                    raise InvalidInputError(
                        message=f"{name} contains itself or is nested too deeply for JSON"
                    ) from None
                continue
            # Files are parts under the parameter's own name; URLs beside them go into `{name}Url`.
            urls = [_check_url(item, name) for item in items if not is_file(item)]
            files += [(name, as_file(item)) for item in items if is_file(item)]
            if urls:
                add(f"{name}Url", ",".join(urls))
        if files:  # a form cannot hold an empty list: its text would be taken for a value
            values = {name: "" if value == [] else value for name, value in values.items()}
        return cls(values, tuple(files))


def run(
    model: str, given: RunInput, callback_url: str | None, project_id: str | int | None, by_events: bool = False
) -> Request:
    """`Run`: starts a billed task."""
    values = dict(given.values)
    if callback_url is not None:
        values["callbackUrl"] = check_encodable(callback_url, "callback_url")
    match project_id:
        case None:
            pass
        case str():
            values["projectid"] = check_encodable(project_id, "project_id")
        case int() if not isinstance(project_id, bool):
            values["projectid"] = str(to_json(project_id, "project_id"))
        case _:
            raise InvalidInputError(message=f"project_id is a {type(project_id).__name__}; give its digits as text")
    path = f"Run/{model_path(model)}{EVENTS if by_events else ''}"
    if not given.parts:
        return Request(path, encode(values), repeatable=False)
    fields = [(name, form_text(value)) for name, value in values.items()]
    return Request(path, b"", (*fields, *given.parts), repeatable=False)


def task_detail(task_id: str | None, token: str | None) -> Request:
    """`Task/Detail`, by token where there is one."""
    return Request("Task/Detail", encode({"tasktoken": token} if token else {"taskid": task_id}))


def task_list(start: int, limit: int, model: str | None = None, oldest_first: bool = False) -> Request:
    """One page of `Task/List`, newest first by default."""
    order = "ASC" if oldest_first else "DESC"
    body = {"type": "model", "sort": "id", "order": order, "start": str(start), "limit": str(limit)}
    if model is not None:
        body["modelName"] = model
    return Request("Task/List", encode(body))


def task_cancel(task_id: str) -> Request:
    """`Task/Cancel`: takes the id only, and only while the task is queued."""
    return Request("Task/Cancel", encode({"taskid": task_id}))


def task_kill(task_id: str | None, token: str | None) -> Request:
    """`Task/Kill`: only while the task is running."""
    return Request("Task/Kill", encode({"socketaccesstoken": token} if token else {"taskid": task_id}))


def task_delete_files(token: str) -> Request:
    """`Task/InputOutputDelete`: only when the task is over."""
    return Request("Task/InputOutputDelete", encode({"tasktoken": token}))


def model_path(model: str) -> str:
    """The percent-encoded path of "owner/model". Raises `InvalidInputError` for anything else."""
    given: object = model
    segments = given.split("/") if isinstance(given, str) else []
    are_slugs = all(segment.strip() not in ("", ".", "..") and segment.isprintable() for segment in segments)
    if len(segments) != 2 or not are_slugs:
        raise InvalidInputError(
            message=f"model is {model!r}; give it as 'owner/model', for example 'google/nano-banana-pro'"
        )
    return "/".join(quote(segment, safe="") for segment in segments)


def to_mapping(given: Mapping[str, object] | None) -> Mapping[str, object]:
    """Convert an input to a dict, with URLs for files that the service keeps. Raises `InvalidInputError`.

    An output of an earlier run, or an uploaded file, stands for its URL, also in a list.
    """
    if given is not None and not isinstance(given, Mapping):
        raise InvalidInputError(
            message=f"input is a {type(given).__name__}; give a mapping of parameter names to values"
        )
    values = dict(given or {})
    for name, value in values.items():
        if type(value) not in PLAIN:  # most are, and the rest costs ten times as much
            items = list_items(value)
            values[name] = _url_or(value) if items is None else [_url_or(item) for item in items]
    return values


def list_items(value: object) -> Sequence[object] | None:
    """The items of a list, a tuple, a deque and the like; None for one value."""
    if isinstance(value, (list, tuple)):
        return value
    return value if isinstance(value, Sequence) and not isinstance(value, ONE) else None


def _url_or(value: object) -> object:
    url = getattr(value, "url", None) if hasattr(value, "content_type") else None
    return url if isinstance(url, str) else value


def form_text(value: JSON) -> str:
    """Write a value as the text of a multipart field: "4", "true", JSON text of lists and mappings."""
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return encode(value).decode()


def _check_url(item: object, name: str) -> str:
    if isinstance(item, str):
        return check_encodable(item, name)
    raise InvalidInputError(message=f"{name} has a {type(item).__name__} beside files; give paths, files or URLs")


def _is_one_shot(data: object) -> bool:
    """Whether sending consumes it: an async iterable, a pipe."""
    if isinstance(data, (bytes, os.PathLike)):
        return False
    seekable = getattr(data, "seekable", None)
    return hasattr(data, "__aiter__") or seekable is None or not seekable()


def is_file(value: object) -> bool:
    return isinstance(value, (File, os.PathLike)) or hasattr(value, "read")


def has_file(value: object) -> bool:
    """Whether this is something to upload, or a list with such an item."""
    items = list_items(value)
    return any(map(is_file, (value,) if items is None else items))


def as_file(value: object) -> File:
    return value if isinstance(value, File) else File(value)  # type: ignore[arg-type]  # it raises for what is none
