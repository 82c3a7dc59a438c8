"""Multipart bodies (RFC 7578), streamed: files are read as they are sent, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

import anyio.to_thread
import attrs

from wiro_async._protocol.requests import Part
from wiro_async._transport.files import chunks_of, content_type_of, size_of
from wiro_async._types import File

ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}  # as browsers do: WHATWG HTML, 4.10.21.8


@attrs.frozen
class Multipart:
    """A body ready to be sent.

    Attributes:
        length: its size in bytes, None where a part's size is unknown.
    """

    boundary: str
    parts: tuple[tuple[bytes, str | File], ...]
    length: int | None

    @classmethod
    async def of(cls, parts: Sequence[Part]) -> Multipart:
        """Measure the parts. Raises the usual OSErrors for files that cannot be read."""
        boundary = uuid4().hex
        headed = await anyio.to_thread.run_sync(_headed, boundary, parts)
        length: int | None = len(_tail(boundary))
        for head, value in headed:
            size = await size_of(value) if isinstance(value, File) else len(value.encode())
            length = None if size is None or length is None else length + len(head) + size + 2
        return cls(boundary, headed, length)

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type, and Content-Length where it is known."""
        length = {} if self.length is None else {"Content-Length": str(self.length)}
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}", **length}

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body."""
        for head, value in self.parts:
            yield head
            if isinstance(value, File):
                async for chunk in chunks_of(value):
                    yield chunk
            else:
                yield value.encode()
            yield b"\r\n"
        yield _tail(self.boundary)


def _headed(boundary: str, parts: Sequence[Part]) -> tuple[tuple[bytes, str | File], ...]:
    """The parts with their heads, made in a thread: the first guess of a media type reads the system's list of them."""
    return tuple((_head(boundary, name, value), value) for name, value in parts)


def _head(boundary: str, name: str, value: str | File) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(ESCAPES)}"'
    if isinstance(value, File):
        head += f'; filename="{value.name.translate(ESCAPES)}"\r\nContent-Type: {content_type_of(value)}'
    return f"{head}\r\n\r\n".encode()


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()
