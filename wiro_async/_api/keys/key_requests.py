"""What a journal has to know of a request: its key, and what makes it equal to another one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable
from pathlib import Path

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import RunInput
from wiro_async._protocol.submission import journal_keys
from wiro_async._protocol.values.json import encode
from wiro_async._transport import threads
from wiro_async._transport.files.upload_sources import OpenSource, PathSource, is_seekable
from wiro_async._types import File, Input

BLOCK = 1024 * 1024


@attrs.frozen
class KeyRequest:
    """A request with a key.

    Attributes:
        key: as the journal stores it.
        digest: equal for equal requests.
        input: its parameters as JSON, files only by their names.
    """

    key: str
    model: str
    digest: str
    input: bytes = attrs.field(repr=False)

    @classmethod
    async def of(cls, model: str, given: Input | None, key: str | None) -> KeyRequest:
        """Describe a request. Without a key of the user, its digest is its key. Files are read to hash them.

        Raises:
            InvalidInputError: the request cannot be sent, or cannot be distinguished from others.
        """
        parsed = RunInput.parse(given)
        files = [(name, await _hash(name, file, key is not None)) for name, file in parsed.files]
        digest = journal_keys.digest(model, parsed.values, files)
        names: dict[str, list[str]] = {}
        for name, file in parsed.files:
            names.setdefault(name, []).append(file.name)
        shown = encode({**parsed.values, **names} if names else parsed.values)
        return cls(digest if key is None else journal_keys.storable(key), model, digest, shown)


async def _hash(name: str, file: File, has_key: bool) -> str:
    """Return the hash of what would be sent. An open file is hashed in blocks, as it may be sent meanwhile."""
    data = file.data
    if isinstance(data, AsyncIterable):
        if not has_key:
            raise InvalidInputError(
                message=f"{name} is read from an async iterable, which a journal cannot tell from others; "
                "give RunRequest(…, key=…)"
            )
        return file.name

    def hash_now() -> str:
        if isinstance(data, bytes):
            return hashlib.sha256(data).hexdigest()
        source: PathSource | OpenSource
        if isinstance(data, os.PathLike):
            is_stream = Path(data).is_fifo() or Path(data).is_char_device()
            source = PathSource(Path(data), BLOCK, is_pipe=False)
        else:
            is_stream = not is_seekable(data)
            source = OpenSource(data, file.name, BLOCK, is_pipe=False)
        if is_stream:
            raise InvalidInputError(
                message=f"{name} is a stream that cannot be read twice, to name the item and to send it; give bytes"
            )
        hashed = hashlib.sha256()
        try:
            while block := source.read():
                hashed.update(block)
        finally:
            source.close()
        return hashed.hexdigest()

    return await threads.run(hash_now)
