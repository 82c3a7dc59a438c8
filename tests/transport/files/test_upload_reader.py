"""Files are measured, and read while they are sent."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import UploadFile

from wiro_async._errors import InvalidInputError
from wiro_async._transport.files import upload_sources as sources
from wiro_async._transport.files.upload_reader import PIECE_SIZE, chunks_of, size_of
from wiro_async._types import File

if TYPE_CHECKING:
    from tests.conftest import Until


class Pipe(io.BytesIO):
    """A file without a length."""

    def seekable(self) -> bool:
        """Always False."""
        return False


class Bare:
    """A file with a `read` method and nothing else."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        """Read some bytes."""
        return self._inner.read(size)


async def sent(data: Any) -> tuple[int | None, bytes]:
    """The size that is measured, and the bytes that are sent."""
    file = File(data, "f")
    size = await size_of(file)
    return size, b"".join([chunk async for chunk in chunks_of(file, size)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of several pieces."""
    path = tmp_path / "f.bin"
    path.write_bytes(os.urandom(3 * PIECE_SIZE + 7))
    return path


@pytest.fixture
def whole(path: Path) -> bytes:
    """Its content."""
    return path.read_bytes()


async def test_paths(path: Path, whole: bytes) -> None:
    """A path is read completely, in pieces."""
    assert await sent(path) == (len(whole), whole)
    assert [len(chunk) async for chunk in chunks_of(File(path, "f"))] == [PIECE_SIZE] * 3 + [7]


@pytest.mark.parametrize("data", [b"", b"abc", bytes(PIECE_SIZE), bytes(2 * PIECE_SIZE + 1)], ids=len)
async def test_bytes(data: bytes) -> None:
    """Many bytes are sent in pieces."""
    assert await sent(data) == (len(data), data)


async def test_an_open_file_stays_where_it_is(path: Path, whole: bytes) -> None:
    """It is sent from its position on, any number of times."""
    with path.open("rb") as opened:
        opened.seek(1000)
        for _ in range(2):
            assert await sent(opened) == (len(whole) - 1000, whole[1000:])
            assert opened.tell() == 1000


async def test_an_open_file_whose_upload_is_left(path: Path) -> None:
    """It is still open, at its old position."""
    with path.open("rb") as opened:
        opened.seek(5)
        async with aclosing(chunks_of(File(opened, "f"))) as chunks:
            async for _ in chunks:
                break
        assert opened.tell() == 5
        assert opened.read(1)


async def test_one_open_file_in_many_runs(path: Path, whole: bytes) -> None:
    """A batch may send the same file with many runs at the same time."""
    with path.open("rb") as opened:
        uploads = await asyncio.gather(*(sent(opened) for _ in range(5)))
        assert {data for _, data in uploads} == {whole}
        assert opened.tell() == 0


@pytest.mark.parametrize("kind", [Pipe, Bare])
async def test_files_of_unknown_size(kind: Callable[[bytes], Any]) -> None:
    """They are read to their end."""
    assert await sent(kind(b"abc" * 1000)) == (None, b"abc" * 1000)


async def test_a_pipe_by_its_path(tmp_path: Path) -> None:
    """A path that is no regular file is read to its end as well."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    task = asyncio.create_task(sent(path))
    await asyncio.to_thread(path.write_bytes, b"abc")
    assert await task == (None, b"abc")


async def test_files_of_the_system(tmp_path: Path) -> None:
    """They report a size of 0 and are read to their end. A regular file without bytes is empty."""
    size, data = await sent(Path("/proc/self/status"))
    assert size is None
    assert data.startswith(b"Name:")
    empty = tmp_path / "empty"
    empty.touch()
    assert await sent(empty) == (0, b"")


async def test_iterators() -> None:
    """They give any kind of bytes, and are closed at the end and when the upload is left."""
    closed = 0

    async def source() -> AsyncGenerator[Any, None]:
        nonlocal closed
        try:
            for piece in (b"a", bytearray(b"b"), memoryview(b"c"), b""):
                yield piece
        finally:
            closed += 1

    assert await sent(source()) == (None, b"abc")
    async with aclosing(chunks_of(File(source(), "f"))) as chunks:
        assert await anext(chunks) == b"a"
    assert closed == 2


@pytest.mark.parametrize("data", ["text", 7], ids=["str", "int"])
async def test_iterators_of_something_else(data: Any) -> None:
    """The error names the file."""

    async def source() -> AsyncGenerator[Any, None]:
        yield data

    with pytest.raises(InvalidInputError, match="'f' gave a"):
        await sent(source())


async def test_text_is_refused_before_anything_is_sent(path: Path) -> None:
    """Measuring it raises the error."""
    with path.open(encoding="latin-1") as opened:
        for text in (opened, io.StringIO("abc")):
            with pytest.raises(InvalidInputError, match="text mode"):
                await size_of(File(text, "f"))  # type: ignore[arg-type]


async def test_files_that_cannot_be_read(path: Path, tmp_path: Path) -> None:
    """Measuring a closed file, or one that is open for writing, raises a clear error."""
    with path.open("rb") as closed:
        pass
    with pytest.raises(InvalidInputError, match="closed"):
        await size_of(File(closed, "f"))
    with (tmp_path / "other").open("wb") as writing, pytest.raises(InvalidInputError, match="read"):
        await size_of(File(writing, "f"))


async def test_missing_files(tmp_path: Path) -> None:
    """They raise the usual errors."""
    with pytest.raises(FileNotFoundError):
        await size_of(File(tmp_path / "none", "f"))
    with pytest.raises(IsADirectoryError):
        await size_of(File(tmp_path, "f"))
    path = tmp_path / "gone"
    path.write_bytes(b"x")
    size = await size_of(File(path, "f"))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await anext(chunks_of(File(path, "f"), size))


@pytest.mark.parametrize("is_slow", [False, True])
async def test_progress(is_slow: bool) -> None:
    """It is reported after every piece, to a plain function or a coroutine."""
    reported: list[tuple[int, int | None]] = []

    async def slowly(done: int, total: int | None) -> None:
        reported.append((done, total))

    def quickly(done: int, total: int | None) -> None:
        reported.append((done, total))

    file = File(bytes(PIECE_SIZE + 1), "f", on_progress=slowly if is_slow else quickly)
    async with aclosing(chunks_of(file, PIECE_SIZE + 1)) as chunks:
        async for _ in chunks:
            pass
    assert reported == [(PIECE_SIZE, PIECE_SIZE + 1), (PIECE_SIZE + 1, PIECE_SIZE + 1)]


async def test_a_reader_that_is_cancelled_leaves_nothing_open(
    path: Path, open_files: Callable[[], set[str]], until: Until
) -> None:
    """It is cancelled at each of its first steps."""
    before = open_files()
    for steps in range(1, 12):
        task = asyncio.create_task(sent(path))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: not {name for name in open_files() - before if "f.bin" in name})


async def test_a_reader_that_is_cancelled_again_and_again(
    path: Path, open_files: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is closed even if the reader is cancelled at each of its steps."""
    seen: list[sources.PathSource] = []
    read = sources.PathSource.read

    def slow(source: sources.PathSource) -> bytes:
        seen.append(source)
        time.sleep(0.05)
        return read(source)

    monkeypatch.setattr(sources.PathSource, "read", slow)
    task = asyncio.create_task(sent(path))
    while not seen:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.sleep(0.2)
    assert not {name for name in open_files() if "f.bin" in name}
    assert seen[0].read() == b""


@pytest.mark.parametrize("data", ["photo.png", None, 7, ["a"]], ids=repr)
def test_invalid_files(data: Any) -> None:
    """A str never opens a file."""
    with pytest.raises(InvalidInputError, match="give bytes"):
        File(data, "f")


@pytest.mark.parametrize("kind", ["image/png\r\nX-Evil: 1", "bild/png\u00e4"])
def test_invalid_content_types(kind: str) -> None:
    """It would be written among the headers."""
    with pytest.raises(InvalidInputError, match="content type"):
        File(b"", "f", kind)


def test_other_bytes_are_bytes() -> None:
    """They are copied, so that later changes have no effect."""
    data = bytearray(b"abc")
    file = File(data, "f")  # type: ignore[arg-type]
    data[0] = 0
    assert file.data == File(memoryview(b"abc"), "f").data == b"abc"  # type: ignore[arg-type]
    assert repr(file) == "File(data=bytes, name='f', content_type=None)"


def test_names() -> None:
    """A name is text, or the last part of a path."""
    assert File(b"", Path("some/where/a.png")).name == "a.png"
    for name in (7, b"a.png"):
        with pytest.raises(InvalidInputError, match=r"the name of a file is a .*give text"):
            File(b"", name)  # type: ignore[arg-type]


async def test_an_upload_of_a_web_framework() -> None:
    """Its `read` must be awaited, so the file within it is sent instead."""
    upload = UploadFile(io.BytesIO(b"abc"), filename="a.png")
    with pytest.raises(InvalidInputError, match=r"UploadFile, whose read\(\) must be awaited.*upload\.file"):
        File(upload, "a.png")  # type: ignore[arg-type]
    assert await sent(upload.file) == (3, b"abc")


async def test_a_file_that_is_closed_while_it_is_sent(path: Path) -> None:
    """The upload raises an error that names the reason."""
    with path.open("rb") as opened:
        async with aclosing(chunks_of(File(opened, "f"))) as chunks:
            await anext(chunks)
            opened.close()
            with pytest.raises(InvalidInputError, match="file 'f' was closed while it was sent"):
                _ = [chunk async for chunk in chunks]


async def test_a_file_that_is_closed_while_it_is_read() -> None:
    """An error of the system about it becomes as clear; other errors stay as they are."""

    class Torn(io.BytesIO):
        is_closed = True

        def tell(self) -> int:
            if self.is_closed:
                self.close()
            raise OSError(errno.EBADF, "Bad file descriptor")

    torn = Torn(b"abc")
    with pytest.raises(InvalidInputError, match="file 'f' was closed while it was sent"):
        _ = [chunk async for chunk in chunks_of(File(torn, "f"))]
    broken = Torn(b"abc")
    broken.is_closed = False
    with pytest.raises(OSError, match="Bad file descriptor"):
        _ = [chunk async for chunk in chunks_of(File(broken, "f"))]


async def test_a_pipe_that_does_not_wait() -> None:
    """A pipe without data yet is not at its end. Later bytes would be missing."""

    class Impatient(Pipe):
        def read(self, size: int | None = -1) -> Any:
            return super().read(size) or None

    with pytest.raises(InvalidInputError, match=r"nothing to read yet.*make it blocking"):
        await sent(Impatient(b"abc"))
