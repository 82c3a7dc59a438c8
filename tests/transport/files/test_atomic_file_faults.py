"""Files are written on disks and systems that fail."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from wiro_async._transport.files.atomic_file import BUFFER, PartialFile, atomic_file


def names_in(folder: Path) -> list[str]:
    """Return the names in a directory, with temporary files."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
async def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The error is raised before the file has its name, and nothing is left."""

    def fail(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012
        async with atomic_file(tmp_path / "x", overwrite=True) as file:
            for _ in range(3):
                await file.write(b"x" * BUFFER)
    monkeypatch.undo()
    assert names_in(tmp_path) == []


async def test_an_error_of_the_disk_during_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not replace the error of the block, and is not logged."""

    def fail(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(LookupError):  # noqa: PT012
        async with atomic_file(tmp_path / "x", overwrite=True) as file:
            await file.write(b"x" * BUFFER)
            raise LookupError
    assert not caplog.text


async def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    """The usual error is raised on entering."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        async with atomic_file(tmp_path / "file" / "x", overwrite=False):
            pytest.fail("it was opened")


async def test_cancelled_before_it_is_open(tmp_path: Path) -> None:
    """It is cancelled at each of its first steps."""
    for rounds in range(12):

        async def write() -> None:
            async with atomic_file(tmp_path / "x", overwrite=False):
                await asyncio.sleep(60)

        task = asyncio.create_task(write())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    while names_in(tmp_path):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert names_in(tmp_path) == []


async def test_a_directory_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems cannot flush directories. The file is there all the same."""
    plain = os.open

    def no_folders(path: str, flags: int, mode: int = 0o777) -> int:
        if Path(path).is_dir():
            raise PermissionError("not a file")
        return plain(path, flags, mode)

    monkeypatch.setattr(os, "open", no_folders)
    async with atomic_file(tmp_path / "x", overwrite=False) as file:
        await file.write(b"x")
    assert (tmp_path / "x").read_bytes() == b"x"


def test_late_calls_do_nothing(tmp_path: Path) -> None:
    """A thread that runs after `discard` opens, writes and renames nothing."""
    part = PartialFile(tmp_path / "x")
    part.discard()
    part.open()
    part.write([b"x"])
    assert part.publish(False) == tmp_path / "x"
    assert names_in(tmp_path) == []
