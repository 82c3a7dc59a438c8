"""Request bodies: JSON, forms, multipart."""

import asyncio
import hashlib
from typing import TypeGuard

import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from wiro_async.testing._records import KEPT_BYTES, Json, RefusedError, Upload

SPOOLED_BYTES = 32 * 2**20  # a file that a thread moves to the disk is left open if its request ends at that moment
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
BAD = RefusedError(0, "Request parameters are invalid.")


async def read(request: Request) -> tuple[dict[str, Json], tuple[Upload, ...]]:
    """The parameters and the files of a request."""
    if request.headers.get("content-type", "").startswith(FORMS):
        return await _form(request)
    body = await request.body()
    try:
        parsed: Json = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise BAD from None
    if not _is_object(parsed):
        raise BAD
    return parsed, ()


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)


async def _form(request: Request) -> tuple[dict[str, Json], tuple[Upload, ...]]:
    values: dict[str, list[str]] = {}
    files: list[Upload] = []
    form = await _parsed(request)
    try:
        for name, item in form.multi_items():
            if isinstance(item, UploadFile) and item.filename:
                files.append(await asyncio.to_thread(_upload, name, item))
            else:
                values.setdefault(name, []).append(item if isinstance(item, str) else "")
    finally:  # not by `form.close()`, which waits, and so leaves files open where the request is being cancelled
        for _, item in form.multi_items():
            if isinstance(item, UploadFile):
                item.file.close()
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}, tuple(files)


async def _parsed(request: Request) -> FormData:
    if not request.headers["content-type"].startswith("multipart/"):
        return await request.form()
    parser = MultiPartParser(request.headers, request.stream(), max_part_size=KEPT_BYTES)
    parser.spool_max_size = SPOOLED_BYTES
    try:
        return await parser.parse()
    except MultiPartException:
        raise BAD from None


def _upload(field: str, part: UploadFile) -> Upload:
    size, digest, kept = part.size or 0, hashlib.sha256(), bytearray()
    while chunk := part.file.read(2**20):
        digest.update(chunk)
        if size <= KEPT_BYTES:
            kept += chunk
    data = bytes(kept) if size <= KEPT_BYTES else None
    content_type = part.content_type or "application/octet-stream"
    return Upload(field, part.filename or "", content_type, size, digest.hexdigest(), data)
