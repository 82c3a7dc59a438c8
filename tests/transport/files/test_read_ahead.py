"""Files are read one piece ahead, in threads."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from wiro_async import File
from wiro_async._transport.files.upload_reader import PIECE_SIZE, chunks_of, size_of

PIECES = os.urandom(PIECE_SIZE * 5 // 2)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two and a half pieces."""
    path = tmp_path / "large.bin"
    path.write_bytes(PIECES)
    return path


async def read(file: File, size: int | None = None) -> list[bytes]:
    """All pieces."""
    async with aclosing(chunks_of(file, size)) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize("kind", ["path", "open", "raw", "bytes", "memory"])
async def test_every_kind_of_file(large: Path, kind: str) -> None:
    """Each is measured and read in pieces of a megabyte, and can be read again."""
    data = PIECES
    sources: dict[str, Any] = {"path": large, "bytes": data, "memory": io.BytesIO(data)}
    with large.open("rb") as buffered, large.open("rb", buffering=0) as raw:
        file = File({**sources, "open": buffered, "raw": raw}[kind], "large.bin")
        for _ in range(2):
            assert await size_of(file) == len(data)
            pieces = await read(file, len(data))
            assert list(map(len, pieces)) == [PIECE_SIZE, PIECE_SIZE, PIECE_SIZE // 2]
            assert b"".join(pieces) == data


async def test_a_file_beyond_its_end(large: Path) -> None:
    """There is nothing to send."""
    with large.open("rb") as file:
        file.seek(10, os.SEEK_END)
        assert await size_of(File(file, "x")) == 0
        assert await read(File(file, "x"), 0) == []


async def test_the_next_piece_is_read_ahead(large: Path) -> None:
    """While a piece is being sent, exactly one more is read."""
    reads: list[int] = []

    class Watched(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            reads.append(threading.get_ident())
            return super().read(size)

    with Watched(large) as file:
        async with aclosing(chunks_of(File(file, "x"))) as chunks:
            await anext(chunks)
            while len(reads) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert len(reads) == 2
    assert threading.get_ident() not in reads


async def test_leaving_in_the_middle(large: Path, open_files: Any) -> None:
    """An open file returns to its position; a file that the SDK opened is closed."""
    with large.open("rb") as file:
        file.seek(7)
        async with aclosing(chunks_of(File(file, "x"))) as chunks:
            await anext(chunks)
        assert file.tell() == 7
    before = open_files()
    async with aclosing(chunks_of(File(large, "x"))) as chunks:
        await anext(chunks)
    assert {name for name in open_files() if "large.bin" in name} == {name for name in before if "large.bin" in name}


async def test_an_error_in_the_middle(large: Path) -> None:
    """The error is raised in place of its piece, and not if that piece is never requested."""

    class Failing(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += 1
            if self.count > 1:
                raise OSError("the disk is gone")
            return super().read(size)

    with pytest.raises(OSError, match="the disk is gone"):
        await read(File(Failing(PIECES), "x"))
    async with aclosing(chunks_of(File(Failing(PIECES), "x"))) as chunks:
        await anext(chunks)
