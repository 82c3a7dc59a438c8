"""Files that are being written: whole under their names, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from wiro_async._transport import filling as module
from wiro_async._transport.filling import BUFFER, filling


async def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Not before; then nothing is beside it."""
    path = tmp_path / "new" / "fox.bin"
    async with filling(path, overwrite=False) as file:
        await file.write(b"x" * BUFFER)
        await file.write(b"y")
        assert not path.exists()
        (part,) = path.parent.iterdir()
        assert part.name.startswith(".fox.bin.")
    assert path.read_bytes() == b"x" * BUFFER + b"y"
    assert file.path == path
    assert os.listdir(path.parent) == ["fox.bin"]


async def test_restarting(tmp_path: Path) -> None:
    """What was written is void, on disk or not yet."""
    async with filling(tmp_path / "x", overwrite=False) as file:
        await file.write(b"x" * (BUFFER + 5))
        await file.write(b"x")
        await file.restart()
        await file.write(b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
async def test_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Also on a file system without links."""
    if not links:

        def refuse(*arguments: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    for number in (b"1", b"2", b"3"):
        async with filling(tmp_path / "fox.tar.gz", overwrite=False) as file:
            await file.write(number)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "fox.tar.gz": b"1",
        "fox.tar-2.gz": b"2",
        "fox.tar-3.gz": b"3",
    }


async def test_two_at_once_take_two_names(tmp_path: Path) -> None:
    """Whoever is whole first has the name."""
    async with filling(tmp_path / "x", overwrite=False) as late:
        async with filling(tmp_path / "x", overwrite=False) as early:
            await early.write(b"early")
        await late.write(b"late")
    assert (early.path.name, late.path.name) == ("x", "x-2")


async def test_an_error_leaves_nothing(tmp_path: Path, open_files: Callable[[], set[str]]) -> None:
    """Neither a file nor an open descriptor; what was there stays."""
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(LookupError):
        async with filling(tmp_path / "x", overwrite=True) as file:
            await file.write(b"new" * BUFFER)
            raise LookupError
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]
    assert not [name for name in open_files() if str(tmp_path) in name]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
async def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The error is told before the file has its name, and nothing is left."""

    def fail(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        async with filling(tmp_path / "x", overwrite=True) as file:
            for _ in range(3):
                await file.write(b"x" * BUFFER)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


async def test_an_error_of_the_disk_that_nobody_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever left for another reason is not told of it, nor is the log."""

    def fail(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", fail)
    with pytest.raises(LookupError):
        async with filling(tmp_path / "x", overwrite=True) as file:
            await file.write(b"x" * BUFFER)
            raise LookupError
    assert not caplog.text


async def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    """The usual error, at once."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        async with filling(tmp_path / "file" / "x", overwrite=False):
            pytest.fail("it was opened")


@pytest.mark.parametrize("way", ["task", "scope"])
async def test_cancelling(tmp_path: Path, open_files: Callable[[], set[str]], way: str) -> None:
    """While it is written: nothing is left."""
    reached = anyio.Event()

    async def write() -> None:
        async with filling(tmp_path / "x", overwrite=False) as file:
            await file.write(b"x" * BUFFER)
            reached.set()
            await asyncio.sleep(60)

    if way == "task":
        task = asyncio.create_task(write())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(write)
            await reached.wait()
            group.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []
    assert not [name for name in open_files() if str(tmp_path) in name]


async def test_cancelled_before_it_is_open(tmp_path: Path) -> None:
    """At every moment of the beginning."""
    for rounds in range(12):

        async def write() -> None:
            async with filling(tmp_path / "x", overwrite=False):
                await asyncio.sleep(60)

        task = asyncio.create_task(write())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    while any(name.endswith(".part") for name in os.listdir(tmp_path)):
        await asyncio.sleep(0.001)
    assert os.listdir(tmp_path) == []


async def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems do not flush folders: the file is there all the same."""
    plain = os.open

    def no_folders(path: str, flags: int, mode: int = 0o777) -> int:
        if Path(path).is_dir():
            raise PermissionError("not a file")
        return plain(path, flags, mode)

    monkeypatch.setattr(module.os, "open", no_folders)
    async with filling(tmp_path / "x", overwrite=False) as file:
        await file.write(b"x")
    assert (tmp_path / "x").read_bytes() == b"x"


async def test_late_calls_do_nothing(tmp_path: Path) -> None:
    """A thread that comes late finds nothing to open, write to or give a name."""
    part = module._Part(tmp_path / "x")
    part.discard()
    part.open()
    part.write(bytearray(b"x"))
    assert part.publish(False) == tmp_path / "x"
    assert os.listdir(tmp_path) == []
