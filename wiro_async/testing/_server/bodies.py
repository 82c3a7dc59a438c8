"""Bodies: requests as JSON, form or multipart, and responses as JSON."""

import hashlib
from collections.abc import Mapping

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from wiro_async._transport import threads
from wiro_async.testing._json import Json, decode, encode
from wiro_async.testing._records import INVALID, KEPT_BYTES, RefusedError, Upload

# Uploads are kept in memory up to this size: a thread that moves one to the disk would leave its file open if the
# request ended at that moment.
SPOOLED_BYTES = 32 * 2**20
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


async def read_body(request: Request) -> tuple[dict[str, Json], tuple[Upload, ...]]:
    """Return the parameters and the files of a request. Raises `RefusedError` for a malformed body."""
    if request.headers.get("content-type", "").startswith(FORMS):
        return await _read_form(request)
    body = await request.body()
    try:
        parsed = decode(body or b"{}")
    except ValueError:
        raise RefusedError(0, INVALID) from None
    if not isinstance(parsed, dict):
        raise RefusedError(0, INVALID)
    return parsed, ()


def json_response(body: Mapping[str, Json], status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")


async def _read_form(request: Request) -> tuple[dict[str, Json], tuple[Upload, ...]]:
    values: dict[str, list[str]] = {}
    files: list[Upload] = []
    form = await _parse_form(request)
    try:
        for name, item in form.multi_items():
            if isinstance(item, UploadFile) and item.filename:
                files.append(await threads.run(_read_upload, name, item))
            else:
                values.setdefault(name, []).append(item if isinstance(item, str) else "")
    finally:
        # Not by `form.close()`: it awaits, so it would leave files open when the request is cancelled.
        for _, item in form.multi_items():
            if isinstance(item, UploadFile):
                item.file.close()
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}, tuple(files)


async def _parse_form(request: Request) -> FormData:
    if not request.headers["content-type"].startswith("multipart/"):
        return await request.form()
    parser = MultiPartParser(request.headers, request.stream(), max_part_size=KEPT_BYTES)
    parser.spool_max_size = SPOOLED_BYTES
    try:
        return await parser.parse()
    except MultiPartException:
        raise RefusedError(0, INVALID) from None
    except BaseException:
        # Starlette before 1.7 leaves files open when the client goes away while it sends them.
        for file in getattr(parser, "_files_to_close_on_error", ()):
            file.close()
        raise


def _read_upload(field: str, part: UploadFile) -> Upload:
    size, digest, kept = part.size or 0, hashlib.sha256(), bytearray()
    while chunk := part.file.read(2**20):
        digest.update(chunk)
        if size <= KEPT_BYTES:
            kept += chunk
    data = bytes(kept) if size <= KEPT_BYTES else None
    content_type = part.content_type or "application/octet-stream"
    return Upload(field, part.filename or "", content_type, size, digest.hexdigest(), data)
