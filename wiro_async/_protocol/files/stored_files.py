"""Files and folders that the service keeps. https://wiro.ai/docs/files"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from wiro_async._errors import DecodingError, InvalidInputError
from wiro_async._protocol.files.filenames import salted
from wiro_async._protocol.http.requests import Request, as_file, is_file
from wiro_async._protocol.tasks.records import moment
from wiro_async._protocol.values.json import JSON, encode
from wiro_async._protocol.values.parsing import as_int, as_list, as_text, as_text_or_none
from wiro_async._public import public
from wiro_async._redaction import shorten_url
from wiro_async._types import File

FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]+")


@public
@attrs.frozen
class UploadedFile:
    """A file that was uploaded.

    Attributes:
        name: the service's name for it. It differs from the given one: names must be unique there.
        url: its URL, which everybody who knows it can read. Give it to a run instead of the file.
        size: in bytes.
        folder_id: the folder that it is in, None for none.
        raw: the service's own record.
    """

    id: str
    name: str
    content_type: str
    size: int | None
    url: str | None = attrs.field(repr=lambda url: repr(url and shorten_url(url)))
    folder_id: str | None
    added_at: datetime | None
    raw: Mapping[str, JSON] = attrs.field(repr=False)


@public
@attrs.frozen
class Folder:
    """A folder for uploaded files.

    Attributes:
        parent_id: the folder that it is in, None for none.
        raw: the service's own record.
    """

    id: str
    name: str
    parent_id: str | None
    raw: Mapping[str, JSON] = attrs.field(repr=False)


def given_file(file: object) -> File:
    """Turn a path, an open binary file or a `File` into a `File`. Raise `InvalidInputError` for anything else."""
    if is_file(file):
        return as_file(file)
    remedy = "give a Path, an open file, or a File"
    if isinstance(file, str):
        remedy = "a str never opens a file: give Path(…)"
    raise InvalidInputError(message=f"file is a {type(file).__name__}; {remedy}")


def upload(file: File, folder_id: str | None, salt: str) -> Request:
    """Make a `File/Upload` request. `salt` makes the name unique: one that is taken fails, or gives the old file."""
    named = attrs.evolve(file, name=salted(os.path.basename(file.name) or "file", salt))
    folder = () if folder_id is None else (("folderid", folder_id),)
    return Request("File/Upload", b"", (*folder, ("file", named)), repeatable=False)


def check_size(name: str, size: int | None, limit: int) -> None:
    """Raise `InvalidInputError` for a file that is larger than the service accepts."""
    if size is not None and size > limit:
        mebibytes = f"{limit / 1024**2:.4g} MiB"
        raise InvalidInputError(
            message=f"file {name!r} has {size} bytes; the service accepts at most {limit} ({mebibytes}). "
            "If it takes more from you, raise the limit: AsyncWiro(tuning=Tuning(max_upload=…))"
        )


def folder_create(name: str, parent_id: str | None) -> Request:
    """Make a `File/FolderCreate` request. Raise `InvalidInputError` for a name that the service refuses."""
    given: object = name
    if not isinstance(given, str) or not FOLDER_NAME.fullmatch(given):
        raise InvalidInputError(message=f"name is {name!r}; a folder's name has letters, digits, - and _ only")
    body = {"name": name} if parent_id is None else {"name": name, "parentid": parent_id}
    return Request("File/FolderCreate", encode(body), repeatable=False)


def uploaded(answer: Mapping[str, JSON]) -> UploadedFile:
    """Read the uploaded file from a response. Raise `DecodingError` if there is none."""
    entry = _first(answer)
    return UploadedFile(
        id=as_text(entry.get("id")),
        name=as_text(entry.get("name")),
        content_type=as_text(entry.get("contenttype")),
        size=as_int(entry.get("size")),
        url=as_text_or_none(entry.get("url")),
        folder_id=as_text_or_none(entry.get("parentid")),
        added_at=moment(entry.get("addedtime")),
        raw=entry,
    )


def created(answer: Mapping[str, JSON]) -> Folder:
    """Read the new folder from a response. Raise `DecodingError` if there is none."""
    entry = _first(answer)
    return Folder(as_text(entry.get("id")), as_text(entry.get("name")), as_text_or_none(entry.get("parentid")), entry)


def _first(answer: Mapping[str, JSON]) -> Mapping[str, JSON]:
    entry = next(iter(as_list(answer.get("list"))), None)
    if not isinstance(entry, dict):
        raise DecodingError("the answer lists no file", http_status=200)
    return entry
