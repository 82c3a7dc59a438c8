"""Files the emulator holds: uploads and outputs, each with a public URL."""

import re
import secrets
import time
from urllib.parse import quote, unquote

import attrs
from starlette.responses import Response

from wiro_async.testing._records import Json

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@attrs.define(eq=False)
class StoredFile:
    """A file with its own access key in its URL.

    `task` is the ordinal of the task it is an output of, `misses` counts the 404s it gave while lagging.
    """

    name: str
    content_type: str
    data: bytes = attrs.field(repr=False)
    url: str
    access_key: str
    id: str
    size: int
    task: int | None = None
    parent_id: str = ""
    added: float = attrs.field(factory=time.time)
    misses: int = 0

    def entry(self) -> dict[str, Json]:
        """The file as the API lists it."""
        return {
            "id": self.id,
            "name": self.name,
            "contenttype": self.content_type,
            "parentid": self.parent_id,
            "uuid": f"uuid-{self.id}",
            "size": str(self.size),
            "addedtime": str(int(self.added)),
            "accesskey": self.access_key,
            "ispublic": 0,
            "expiretime": None,
            "url": self.url,
        }


@attrs.define(eq=False)
class FileStore:
    """All files, by access key."""

    base_url: str = ""
    _files: dict[str, StoredFile] = attrs.field(factory=dict[str, StoredFile], init=False)

    def add(
        self, name: str, content_type: str, data: bytes, *, task: int | None = None, size: int | None = None
    ) -> StoredFile:
        """Keep a file and give it a URL."""
        key = secrets.token_urlsafe(16)
        url = f"{self.base_url}/File/{key}/{quote(name)}"
        length = len(data) if size is None else size
        file = StoredFile(name, content_type, data, url, key, secrets.token_hex(16), length, task)
        self._files[key] = file
        return file

    def find(self, access_key: str) -> StoredFile | None:
        """The file with this access key."""
        return self._files.get(access_key)

    def remove(self, access_key: str) -> None:
        """Forget a file; its URL answers 404 from now on."""
        self._files.pop(access_key, None)

    def fetch(self, url: str) -> bytes | None:
        """The bytes behind one of the emulator's own URLs, else None."""
        prefix = f"{self.base_url}/File/"
        file = self.find(unquote(url.removeprefix(prefix).partition("/")[0])) if url.startswith(prefix) else None
        return file.data if file else None


def serve(file: StoredFile, range_header: str, if_range: str) -> Response:
    """A whole file, the part of it that was asked for, or 416."""
    etag = f'"{file.id}"'
    headers = {"etag": etag, "accept-ranges": "bytes"}
    wanted = RANGE.fullmatch(range_header)
    if wanted is None or if_range not in ("", etag) or wanted.group(0) == "bytes=-":
        return Response(file.data, 200, headers, file.content_type)
    first, last = _span(wanted.group(1), wanted.group(2), len(file.data))
    if first >= len(file.data) or first > last:
        return Response(b"", 416, {**headers, "content-range": f"bytes */{len(file.data)}"})
    headers["content-range"] = f"bytes {first}-{last}/{len(file.data)}"
    return Response(file.data[first : last + 1], 206, headers, file.content_type)


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1
