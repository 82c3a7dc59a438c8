"""The files of the emulator: uploads and outputs, each with a public URL."""

import re
import secrets
import time
from urllib.parse import quote, unquote

import attrs
from starlette.responses import Response

from wiro_async.testing._json import Json

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@attrs.define(eq=False)
class StoredFile:
    """A file whose URL holds its access key."""

    name: str
    content_type: str
    data: bytes = attrs.field(repr=False)
    url: str
    access_key: str
    id: str
    size: int
    task: int | None = None  # ordinal of the task that made the file; None for uploads
    parent_id: str = ""
    added: float = attrs.field(factory=time.time)
    misses: int = 0  # number of 404 responses sent while a fault hides the file

    def count_miss(self) -> None:
        self.misses += 1

    def entry(self) -> dict[str, Json]:
        """Return the file as the API lists it."""
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

    base_url: str = attrs.field(default="", init=False)
    _files: dict[str, StoredFile] = attrs.field(factory=dict[str, StoredFile], init=False)

    def serve_at(self, base_url: str) -> None:
        """Set the base of the URLs of files that are added from now on."""
        self.base_url = base_url

    def add(
        self,
        name: str,
        content_type: str,
        data: bytes,
        *,
        task: int | None = None,
        size: int | None = None,
        parent_id: str = "",
    ) -> StoredFile:
        """Store a file under a new URL."""
        key = secrets.token_urlsafe(16)
        url = f"{self.base_url}/File/{key}/{quote(name)}"
        length = len(data) if size is None else size
        file = StoredFile(name, content_type, data, url, key, secrets.token_hex(16), length, task, parent_id)
        self._files[key] = file
        return file

    def find(self, access_key: str) -> StoredFile | None:
        return self._files.get(access_key)

    def urls(self) -> list[str]:
        return [file.url for file in list(self._files.values())]

    def remove(self, access_key: str) -> None:
        """Remove a file. Its URL responds with 404 from now on."""
        self._files.pop(access_key, None)

    def fetch(self, url: str) -> bytes | None:
        """Return the bytes behind one of the emulator's URLs, or None for other URLs."""
        prefix = f"{self.base_url}/File/"
        file = self.find(unquote(url.removeprefix(prefix).partition("/")[0])) if url.startswith(prefix) else None
        return file.data if file else None


def file_response(file: StoredFile, range_header: str, if_range: str) -> Response:
    """Return a whole file, the requested range of it, or 416."""
    etag = f'"{file.id}"'
    headers = {"etag": etag, "accept-ranges": "bytes"}
    wanted = RANGE.fullmatch(range_header)
    if wanted is None or if_range not in ("", etag) or wanted.group(0) == "bytes=-":
        return Response(file.data, 200, headers, file.content_type)
    start, end, size = wanted.group(1), wanted.group(2), len(file.data)
    if start:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
    else:  # "bytes=-5" is the last five bytes
        first, last = max(0, size - int(end)), size - 1
    if first >= size or first > last:
        return Response(b"", 416, {**headers, "content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return Response(file.data[first : last + 1], 206, headers, file.content_type)
