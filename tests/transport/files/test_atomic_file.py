"""A file appears under its name when it is complete, or not at all."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import anyio
import pytest

from wiro_async._protocol.files.filenames import numbered
from wiro_async._transport import threads
from wiro_async._transport.files import atomic_file as module
from wiro_async._transport.files.atomic_file import BUFFER, atomic_file

if TYPE_CHECKING:
    from tests.conftest import Until


async def fill(path: Path, data: bytes = b"new", overwrite: bool = False) -> Path:
    """Write a file and return its path."""
    async with atomic_file(path, overwrite) as file:
        await file.write(data)
    return file.path


def names(folder: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_a_file(tmp_path: Path) -> None:
    """Missing directories are made, and the mode is what the user's umask allows."""
    path = tmp_path / "a" / "b" / "f.png"
    assert await fill(path) == path
    assert await anyio.Path(path).read_bytes() == b"new"
    assert names(tmp_path) == ["f.png"]
    mask = os.umask(0)
    os.umask(mask)
    assert (await anyio.Path(path).stat()).st_mode & 0o777 == 0o666 & ~mask


async def test_many_chunks(tmp_path: Path) -> None:
    """Smaller and larger than the buffer, they are written in order."""
    pieces = [bytes([number]) * (number * 7 % 26 * BUFFER // 10) for number in range(30)]
    async with atomic_file(tmp_path / "f", False) as file:
        for piece in pieces:
            await file.write(piece)
    assert await anyio.Path(tmp_path / "f").read_bytes() == b"".join(pieces)


async def test_starting_over(tmp_path: Path) -> None:
    """`restart` discards what is on the disk and what is in the buffer."""
    async with atomic_file(tmp_path / "f", False) as file:
        await file.write(b"wrong" * BUFFER)
        await file.write(b"w")
        await file.restart()
        await file.write(b"right")
    assert await anyio.Path(tmp_path / "f").read_bytes() == b"right"


async def test_it_has_no_name_before_it_is_complete(tmp_path: Path) -> None:
    """So half a file cannot be mistaken for a complete one."""
    async with atomic_file(tmp_path / "f.png", False) as file:
        await file.write(b"x")
        assert "f.png" not in names(tmp_path)


async def test_numbers(tmp_path: Path) -> None:
    """A name that exists gets a number. Files that end at the same time get different ones."""
    assert [(await fill(tmp_path / "f.png")).name for _ in range(3)] == ["f.png", "f-2.png", "f-3.png"]
    paths = await asyncio.gather(*(fill(tmp_path / "g.png", bytes([n])) for n in range(10)))
    assert len(set(paths)) == 10
    assert [await anyio.Path(path).read_bytes() for path in paths] == [bytes([n]) for n in range(10)]


async def test_numbers_after_very_many(tmp_path: Path) -> None:
    """The next number is found without trying all used ones, even with gaps."""
    for number in (1, *range(2, 400), 700):
        (tmp_path / (f"f-{number}.png" if number > 1 else "f.png")).touch()
    with patch.object(module, "numbered", wraps=numbered) as tried:
        assert (await fill(tmp_path / "f.png")).name == "f-400.png"
    assert tried.call_count < 40
    assert names(tmp_path).count("f-400.png") == 1


async def test_overwriting(tmp_path: Path) -> None:
    """The old file is there until the new one is complete."""
    path = anyio.Path(tmp_path / "f")
    await path.write_bytes(b"old")
    async with atomic_file(tmp_path / "f", True) as file:
        await file.write(b"new")
        assert await path.read_bytes() == b"old"
    assert await path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


async def test_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename is used instead."""

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert [(await fill(tmp_path / "f.png")).name for _ in range(3)] == ["f.png", "f-2.png", "f-3.png"]
    assert names(tmp_path) == ["f-2.png", "f-3.png", "f.png"]


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("mine"), asyncio.CancelledError()])
async def test_nothing_is_left_of_a_failure(tmp_path: Path, error: BaseException) -> None:
    """The error is raised, and an older file of that name stays."""
    await anyio.Path(tmp_path / "f").write_bytes(b"old")

    async def fail() -> None:
        async with atomic_file(tmp_path / "f", True) as file:
            await file.write(b"x")
            raise error

    with pytest.raises(type(error)):
        await fail()
    assert names(tmp_path) == ["f"]
    assert await anyio.Path(tmp_path / "f").read_bytes() == b"old"


async def test_cancelling_at_any_moment(tmp_path: Path, open_files: Callable[[], set[str]]) -> None:
    """The file is complete or not there, and nothing stays open."""
    whole = b"whole" * (BUFFER // 4)
    before = open_files()
    for steps in range(1, 30):
        task = asyncio.create_task(fill(tmp_path / f"{steps}", whole, overwrite=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.005)
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
    assert {await anyio.Path(tmp_path / name).read_bytes() for name in names(tmp_path)} <= {whole}
    assert not {name for name in open_files() - before if str(tmp_path) in name}


async def test_errors_of_the_disk_are_raised(tmp_path: Path) -> None:
    """A directory that is a file, and a name that is a directory."""
    await anyio.Path(tmp_path / "file").write_bytes(b"")
    await anyio.Path(tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="file"):
        await fill(tmp_path / "file" / "f")
    with pytest.raises(IsADirectoryError):
        await fill(tmp_path / "folder", overwrite=True)
    assert names(tmp_path) == ["file"]


async def test_cancelled_twice_while_all_threads_are_busy(tmp_path: Path, until: Until) -> None:
    """The temporary file is deleted as soon as a thread is free."""
    begun, free = asyncio.Event(), threading.Event()

    async def write() -> None:
        async with atomic_file(tmp_path / "x", False) as file:
            await file.write(b"abc")
            begun.set()
            await asyncio.sleep(60)

    writing = asyncio.create_task(write())
    await begun.wait()
    busy = [threads.start(free.wait) for _ in range(int(threads.LIMITS["files"]))]
    for _ in range(2):
        writing.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await writing
    free.set()
    await asyncio.gather(*busy)
    await until(lambda: not list(tmp_path.iterdir()))
