"""Multipart bodies (RFC 7578), streamed: files are read as they are sent, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import uuid4

import attrs

from wiro_async._protocol.http.requests import Part
from wiro_async._transport import threads
from wiro_async._transport.files.media_types import content_type_of
from wiro_async._transport.files.upload_reader import already_sent, chunks_of, is_single_use, size_of
from wiro_async._types import File, consume

ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}  # as browsers do: WHATWG HTML, 4.10.21.8
NAME_ESCAPES = {**ESCAPES, ord("\\"): "_", 0: "_"}  # servers do not agree on whether a backslash escapes


@attrs.frozen
class Multipart:
    """A body ready to be sent.

    Attributes:
        length: its size in bytes, None where a part's size is unknown.
        transient: files among its parts that can be read only once.
    """

    boundary: str
    parts: tuple[tuple[bytes, bytes | File, int | None], ...] = attrs.field(repr=False)
    length: int | None
    transient: tuple[File, ...] = attrs.field(default=(), repr=False)

    @classmethod
    async def of(cls, parts: Sequence[Part]) -> Multipart:
        """Measure the parts.

        Raises:
            OSError: as usual for files that cannot be read.
            InvalidInputError: what can be read only once was read, or is there twice.
        """
        boundary = uuid4().hex
        headed = await threads.run(_headed, boundary, parts)
        sized = [(*part, await size_of(part[1]) if isinstance(part[1], File) else len(part[1])) for part in headed]
        sizes = [len(head) + size + len(b"\r\n") for head, _, size in sized if size is not None]
        length = sum(sizes) + len(_tail(boundary)) if len(sizes) == len(sized) else None
        transient = await _transient(sized) if length is None else ()
        return cls(boundary, tuple(sized), length, transient)

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type, and Content-Length where it is known."""
        length = {} if self.length is None else {"Content-Length": str(self.length)}
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}", **length}

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body. Raises `InvalidInputError` before any of it comes, if another one has begun to use up its files."""
        for file in self.transient:
            if file.is_consumed:
                raise already_sent(file)
        for file in self.transient:
            consume(file)
        for head, value, size in self.parts:
            yield head
            if isinstance(value, File):
                async with aclosing(chunks_of(value, size)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            else:
                yield value
            yield b"\r\n"
        yield _tail(self.boundary)


async def _transient(sized: Sequence[tuple[bytes, bytes | File, int | None]]) -> tuple[File, ...]:
    files = [(value, size) for _, value, size in sized if isinstance(value, File)]
    transient = [file for file, size in files if await is_single_use(file, size)]
    sources = [id(file.data) for file in transient]
    for place, file in enumerate(transient):
        if id(file.data) in sources[:place]:
            raise already_sent(file)
    return tuple(transient)


def _headed(boundary: str, parts: Sequence[Part]) -> list[tuple[bytes, bytes | File]]:
    """The parts with their heads, made in a thread: the first guess of a media type reads the system's list of them."""
    return [(_head(boundary, name, value), value if isinstance(value, File) else _text(value)) for name, value in parts]


def _head(boundary: str, name: str, value: str | File) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(ESCAPES)}"'
    if isinstance(value, File):
        content_type = "".join(filter(str.isprintable, content_type_of(value)))  # it must not begin another header
        head += f'; filename="{value.name.translate(NAME_ESCAPES) or "file"}"\r\nContent-Type: {content_type}'
    return _text(f"{head}\r\n\r\n")


def _text(value: str) -> bytes:
    return value.encode(errors="replace")  # halves of surrogate pairs occur in names of files


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()
