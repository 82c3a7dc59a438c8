"""Multipart bodies, read back by other parsers."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart import FormParser
from python_multipart.multipart import Field
from python_multipart.multipart import File as ParsedFile

from wiro_async._errors import InvalidInputError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.http.multipart import Multipart
from wiro_async._types import File

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve

Parsed: TypeAlias = "list[tuple[str, str | None, bytes]]"

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='\\"/')
NAMES = st.text(LETTERS, min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
FILES = st.builds(File, st.binary(max_size=100), NAMES, st.none() | st.just("image/png"))


async def body_of(multipart: Multipart) -> bytes:
    """Return the whole body."""
    return b"".join([chunk async for chunk in multipart.chunks()])


def by_python_multipart(multipart: Multipart, body: bytes) -> Parsed:
    """Parse a body as Python's web servers do."""
    parts: Parsed = []

    def on_field(field: Field) -> None:
        assert field.field_name is not None
        parts.append((field.field_name.decode(), None, field.value or b""))

    def on_file(file: ParsedFile) -> None:
        assert file.field_name is not None
        assert file.file_name is not None
        file.file_object.seek(0)
        parts.append((file.field_name.decode(), file.file_name.decode(), file.file_object.read()))

    parser = FormParser("multipart/form-data", on_field, on_file, boundary=multipart.boundary)
    parser.write(body)
    parser.finalize()
    return parts


def by_email(multipart: Multipart, body: bytes) -> Parsed:
    """Parse a body with the standard library's mail parser."""
    head = f"Content-Type: {multipart.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
    parts: Parsed = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name, file_name = part.get_param("name", header="content-disposition"), part.get_filename()
        parts.append((str(name), file_name, content))
    return parts


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, TEXTS | FILES), min_size=1, max_size=5))
async def test_parts_arrive_unchanged(parts: list[tuple[str, str | File]]) -> None:
    """Names, values and contents in any script, in order, with an exact length."""
    multipart = await Multipart.of(parts)
    body = await body_of(multipart)
    assert multipart.headers["Content-Length"] == str(len(body))
    expected: Parsed = [
        (name, value.name, value.data) if isinstance(value, File) else (name, None, value.encode())  # type: ignore[misc]
        for name, value in parts
    ]
    assert by_python_multipart(multipart, body) == expected


@settings(max_examples=60, deadline=None)
@given(st.text("abcABC123 -_.", min_size=1), st.binary())
async def test_another_reader_agrees(name: str, data: bytes) -> None:
    """The standard library agrees on names that mail can contain."""
    name = f"x{name.strip()}x"
    multipart = await Multipart.of([("a", "text"), (name, File(data, name, "image/png"))])
    text, file = by_email(multipart, await body_of(multipart))
    assert text == ("a", None, b"text")
    assert (file[0], file[1]) == (name, name)
    assert file[2] == data or b"\n" in data or b"\r" in data  # mail's line ends are its own


@pytest.mark.parametrize(
    "name, sent",
    [
        ('a"; filename="evil.exe', "a%22; filename=%22evil.exe"),
        ("a\r\nContent-Type: text/html\r\n\r\nx", "a%0D%0AContent-Type: text/html%0D%0A%0D%0Ax"),
    ],
)
async def test_names_cannot_break_out(name: str, sent: str) -> None:
    """Quotes and line ends are escaped as in browsers, in names of parameters and of files."""
    multipart = await Multipart.of([(name, "v"), ("f", File(b"x", name))])
    field, file = by_python_multipart(multipart, await body_of(multipart))
    assert (field[0], file[1]) == (sent, sent)


@pytest.mark.parametrize("name", ["photo\ud800.png", "a\\b.png", ""])
async def test_unusual_file_names(name: str) -> None:
    """Unpaired surrogates, unsafe characters and empty names all give a file name."""
    multipart = await Multipart.of([("a\udcff", "\ud83d"), ("f", File(b"x", name))])
    field, file = by_python_multipart(multipart, await body_of(multipart))
    assert field == ("a?", None, b"?")
    assert file[1]
    assert "\\" not in file[1]


@pytest.mark.parametrize(
    "name, given_type, media_type",
    [
        ("a.png", None, "image/png"),
        ("A.WEBP", None, "image/webp"),
        ("a.heic", None, "image/heic"),
        ("a.m4a", None, "audio/mp4"),
        ("a.csv.gz", None, "application/octet-stream"),
        ("a.tgz", None, "application/octet-stream"),
        ("unknown", None, "application/octet-stream"),
        ("http://x/a.png?b", None, "application/octet-stream"),
        ("a.png", "video/mp4", "video/mp4"),
    ],
)
async def test_media_types(name: str, given_type: str | None, media_type: str) -> None:
    """The file's name decides, equally on every machine, unless a type is given."""
    multipart = await Multipart.of([("f", File(b"x", name, given_type))])
    assert f"\r\nContent-Type: {media_type}\r\n\r\n".encode() in await body_of(multipart)


async def pieces() -> AsyncIterator[bytes]:
    """An iterator of unknown length, with an empty piece."""
    for piece in (b"ab", b"", b"cd"):
        yield piece


async def test_an_unknown_length() -> None:
    """The body is sent in chunks without empty ones, because an empty chunk would end it."""
    multipart = await Multipart.of([("f", File(pieces(), "f")), ("a", "1")])
    assert "Content-Length" not in multipart.headers
    chunks = [chunk async for chunk in multipart.chunks()]
    assert all(chunks)
    parts = by_python_multipart(multipart, b"".join(chunks))
    assert parts == [("f", "f", b"abcd"), ("a", None, b"1")]


async def test_over_the_wire(http: HttpTransport, serve: Serve, tmp_path: Path) -> None:
    """A path, an open file from its position, and bytes arrive complete, piece by piece."""

    async def read(peer: Conversation) -> None:
        await peer.request()
        await peer.answer()

    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 10_000)
    opened = io.BytesIO(b"skipped|kept")
    opened.seek(8)
    server = await serve(read)
    multipart = await Multipart.of([("a", File(path, "big.bin")), ("b", File(opened, "o")), ("c", File(b"d", "d"))])
    await http.post(server.url + "/", multipart.headers, multipart.chunks(), 5.0)
    (body,) = server.conversations[0].bodies
    assert by_python_multipart(multipart, body) == [
        ("a", "big.bin", path.read_bytes()),
        ("b", "o", b"kept"),
        ("c", "d", b"d"),
    ]


@pytest.mark.parametrize("change", [b"", b"x" * 10])
async def test_a_file_that_shrinks_on_the_way(http: HttpTransport, serve: Serve, tmp_path: Path, change: bytes) -> None:
    """The call raises a clear error at once, and the server gets no complete request."""

    async def read(peer: Conversation) -> None:
        await peer.request()

    path = tmp_path / "f"
    path.write_bytes(b"x" * 100_000)
    server = await serve(read)
    multipart = await Multipart.of([("f", File(path, "f"))])
    path.write_bytes(change)
    with pytest.raises(InvalidInputError, match="'f'"):
        await http.post(server.url + "/", multipart.headers, multipart.chunks(), 5.0)
    assert all(not peer.bodies for peer in server.conversations)


async def test_a_file_that_grows_on_the_way(tmp_path: Path) -> None:
    """The bytes at the start are sent, and the length is right."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    multipart = await Multipart.of([("f", File(path, "f"))])
    path.write_bytes(b"old and new")
    body = await body_of(multipart)
    assert len(body) == multipart.length
    assert by_python_multipart(multipart, body) == [("f", "f", b"old")]
