"""Reading files while they are sent: a piece ahead, in threads, and what becomes of errors."""

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
    """Measured and read in pieces of a megabyte, twice if need be."""
    data = PIECES
    sources: dict[str, Any] = {"path": large, "bytes": data, "memory": io.BytesIO(data)}
    with large.open("rb") as buffered, large.open("rb", buffering=0) as raw:
        file = File({**sources, "open": buffered, "raw": raw}[kind], "large.bin")
        for _ in range(2):
            assert await size_of(file) == len(data)
            pieces = await read(file, len(data))
            assert list(map(len, pieces)) == [PIECE_SIZE, PIECE_SIZE, PIECE_SIZE // 2]
            assert b"".join(pieces) == data


async def test_a_file_behind_its_end(large: Path) -> None:
    """Nothing is left to send."""
    with large.open("rb") as file:
        file.seek(10, os.SEEK_END)
        assert await size_of(File(file, "x")) == 0
        assert await read(File(file, "x"), 0) == []


async def test_the_next_piece_is_read_ahead(large: Path) -> None:
    """While one is on its way; and only one."""
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
        await read(File(Failing(PIECES), "x"))
    async with aclosing(chunks_of(File(Failing(PIECES), "x"))) as chunks:
        await anext(chunks)
