"""Multipart bodies, read back by two parsers that know nothing of each other; and the files in them."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import FormParser

from wiro_async import File, InvalidInputError
from wiro_async._protocol.requests import Part
from wiro_async._transport import files
from wiro_async._transport.files import CHUNK, chunks_of, size_of
from wiro_async._transport.multipart import Multipart

FIELDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=60)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)
FILES = st.builds(File, st.binary(max_size=200), NAMES)
PARTS = st.lists(st.tuples(FIELDS, TEXT | FILES), max_size=8)
Found = list[tuple[str, str | None, bytes]]


async def sent(parts: list[Part]) -> tuple[dict[str, str], bytes]:
    """Headers and body of what would be sent."""
    multipart = await Multipart.of(parts)
    async with aclosing(multipart.chunks()) as chunks:
        return multipart.headers, b"".join([chunk async for chunk in chunks])


def by_python_multipart(headers: dict[str, str], body: bytes) -> Found:
    found: Found = []

    def on_field(field: Any) -> None:
        found.append((field.field_name.decode(), None, field.value or b""))

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        found.append((file.field_name.decode(), file.file_name.decode(), file.file_object.read()))

    boundary = headers["Content-Type"].partition("boundary=")[2]
    parser = FormParser("multipart/form-data", on_field, on_file, boundary=boundary.encode())
    parser.write(body)
    parser.finalize()
    return found


def by_email(headers: dict[str, str], body: bytes) -> Found:
    message = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body, policy=HTTP)
    found: Found = []
    for part in message.get_payload() if message.is_multipart() else []:
        assert not isinstance(part, str)
        disposition = part["content-disposition"]
        name, filename = disposition.params["name"], disposition.params.get("filename")
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        found.append((name, filename, data))
    return found


def expected(parts: list[Part]) -> Found:
    return [
        (name, value.name.replace('"', "%22").replace("\\", "_"), value.data)
        if isinstance(value, File) and isinstance(value.data, bytes)
        else (name, None, str(value).encode())
        for name, value in parts
    ]


@given(PARTS)
def test_two_parsers_read_the_same(parts: list[Part]) -> None:
    """What python-multipart makes of a body: every field and file, in order, byte for byte."""
    headers, body = asyncio.run(sent(parts))
    assert int(headers["Content-Length"]) == len(body)
    assert by_python_multipart(headers, body) == expected(parts)


@given(st.lists(st.tuples(FIELDS, TEXT.map(lambda text: text.replace("\n", " ")) | FILES), min_size=1, max_size=5))
def test_the_standard_library_reads_it_too(parts: list[Part]) -> None:
    """Its parser of mails decodes names in its own way, so names that ASCII holds are compared."""
    parts = [
        (name, File(value.data, value.name.encode("ascii", "replace").decode().strip() or "x"))
        if isinstance(value, File)
        else (name, value)
        for name, value in parts
    ]
    headers, body = asyncio.run(sent(parts))
    found = by_email(headers, body)
    assert [name for name, _, _ in found] == [name for name, _, _ in expected(parts)]
    for (_, filename, data), (_, given_name, given_data) in zip(found, expected(parts), strict=True):
        assert (filename or "").split() == (given_name or "").split()
        # a mail's line ends are its own
        assert data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") == given_data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@pytest.mark.parametrize("name", ['"; filename="evil', "a\r\nX-Evil: 1", "a\nb", "half\ud800", "", "a\x00b", "C:\\x.png"])
async def test_names_cannot_break_out(name: str) -> None:
    """One part stays one part with one name, whatever the name says."""
    headers, body = await sent([("file", File(b"data", name)), (name or "x", "value")])
    first, second = by_python_multipart(headers, body)
    assert (first[0], first[2], second[2]) == ("file", b"data", b"value")
    assert first[1]
    assert body.count(b"\r\nContent-Disposition") == 2
    assert b"\r\nX-Evil" not in body


def opened(path: Path) -> IO[bytes]:
    return path.open("rb")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two and a half pieces."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(CHUNK * 5 // 2))
    return path


async def read(file: File, size: int | None = None) -> list[bytes]:
    async with aclosing(chunks_of(file, size)) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize("kind", ["path", "open", "raw", "bytes", "memory"])
async def test_every_kind_of_file(large: Path, kind: str) -> None:
    """Measured and read in pieces of a megabyte, twice if need be."""
    data = large.read_bytes()
    sources: dict[str, Any] = {"path": large, "bytes": data, "memory": io.BytesIO(data)}
    with large.open("rb") as buffered, large.open("rb", buffering=0) as raw:
        file = File({**sources, "open": buffered, "raw": raw}[kind], "large.bin")
        for _ in range(2):
            assert await size_of(file) == len(data)
            pieces = await read(file, len(data))
            assert list(map(len, pieces)) == [CHUNK, CHUNK, CHUNK // 2]
            assert b"".join(pieces) == data


async def test_a_file_behind_its_end(large: Path) -> None:
    """Nothing is left to send."""
    with large.open("rb") as file:
        file.seek(10, os.SEEK_END)
        assert await size_of(File(file, "x")) == 0
        assert await read(File(file, "x"), 0) == []


async def test_a_pipe_by_its_path(tmp_path: Path) -> None:
    """Its size is not that of a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert await size_of(File(path, "x")) is None
    writing = threading.Thread(target=path.write_bytes, args=(b"through the pipe",))
    writing.start()
    assert b"".join(await read(File(path, "x"))) == b"through the pipe"
    writing.join()


async def test_the_next_piece_is_read_ahead(large: Path) -> None:
    """While one is on its way; and only one."""
    reads: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            reads.append(threading.get_ident())
            return super().read(size)

    with Watched(large) as file:
        async with aclosing(chunks_of(File(file, "x"))) as chunks:  # type: ignore[arg-type]
            await anext(chunks)
            while len(reads) < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            assert len(reads) == 2
    assert threading.get_ident() not in reads


async def test_leaving_in_the_middle(large: Path, open_files: Any) -> None:
    """An open file goes back to where it was; one of ours is closed."""
    with large.open("rb") as file:
        file.seek(7)
        async with aclosing(chunks_of(File(file, "x"))) as chunks:
            await anext(chunks)
        assert file.tell() == 7
    before = open_files()
    async with aclosing(chunks_of(File(large, "x"))) as chunks:
        await anext(chunks)
    assert {name for name in open_files() if "large.bin" in name} == {name for name in before if "large.bin" in name}


async def test_a_file_that_cannot_be_read_on(large: Path) -> None:
    """Its error comes with the piece that it is about, and not if nobody wants that piece."""

    class Failing(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += 1
            if self.count > 1:
                raise OSError("the disk is gone")
            return super().read(size)

    with pytest.raises(OSError, match="the disk is gone"):
        await read(File(Failing(large.read_bytes()), "x"))
    async with aclosing(chunks_of(File(Failing(large.read_bytes()), "x"))) as chunks:
        await anext(chunks)


async def test_an_iterator_that_is_left_is_closed() -> None:
    """Its `finally` runs at once."""
    closed = False

    async def source() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"one"
            yield b"two"
        finally:
            closed = True

    async with aclosing(chunks_of(File(source(), "x"))) as chunks:
        await anext(chunks)
    assert closed


async def test_other_iterables() -> None:
    """Anything with `__aiter__`; of text it is refused."""

    class Source:
        def __init__(self, *pieces: Any) -> None:
            self.pieces = pieces

        async def __aiter__(self) -> AsyncIterator[Any]:
            for piece in self.pieces:
                yield piece

    assert await read(File(Source(b"one", bytearray(b"two"), b"", memoryview(b"three")), "x")) == [b"one", b"two", b"three"]
    with pytest.raises(InvalidInputError, match="gave a str instead of bytes"):
        await read(File(Source("one"), "x"))


def test_files_module_names() -> None:
    """What the rest of the package relies on."""
    assert files.content_type_of(File(b"", "a.png")) == "image/png"
    assert files.content_type_of(File(b"", "a")) == "application/octet-stream"
