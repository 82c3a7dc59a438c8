"""Saving what a run gave: all outputs at once, under names that do not clash, or as one zip."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import pytest_asyncio

from wiro_async import AsyncWiro, DownloadError, RetryPolicy, TaskResult
from wiro_async._engine import patience
from wiro_async._transport import http
from wiro_async.testing import Cut, Delay, FileOutput, ModelScript, Respond, Script, WiroEmulator, timeline

NAMES = ["0.png", "0.PNG", "../up.png", "0.png", "CON", ""]
SAFE = ["0.png", "0-2.PNG", "_up.png", "0-3.png", "_CON", "output"]
DATA = [os.urandom(3000) for _ in NAMES]


@pytest.fixture
def maker() -> ModelScript:
    """A model with six outputs."""
    outputs = tuple(FileOutput(f"{number}.png", "image/png", data) for number, data in enumerate(DATA))
    return ModelScript("emulator/maker", lambda given: Script(timeline(1), outputs))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken transfers are tried again at once."""
    monkeypatch.setattr(patience, "PACE", RetryPolicy(base=0.001, cap=0.002))


@pytest_asyncio.fixture
async def result(emulator: WiroEmulator, wiro: AsyncWiro, maker: ModelScript) -> AsyncIterator[TaskResult]:
    """Its result, with names that mean harm."""
    dict.update(emulator._service.models, {maker.slug: maker})  # type: ignore[arg-type]
    made = await wiro.run(maker.slug)
    for output, name in zip(made.outputs, NAMES, strict=True):
        output.record = attrs.evolve(output.record, name=name)
    yield made


async def test_names_that_clash(result: TaskResult, tmp_path: Path) -> None:
    """Each output has a file of its own inside the directory, also where case does not count, also when overwriting."""
    for overwrite in (False, True):
        paths = await result.save(tmp_path / "new" / "out", overwrite=overwrite)
        assert [path.name for path in paths] == SAFE
        assert [path.read_bytes() for path in paths] == DATA
    assert sorted(os.listdir(tmp_path / "new" / "out")) == sorted(SAFE)
    again = await result.save(tmp_path / "new" / "out")
    assert not {path.name for path in again} & set(SAFE)
    assert len(os.listdir(tmp_path / "new" / "out")) == 2 * len(SAFE)


async def test_several_at_a_time(
    emulator: WiroEmulator, result: TaskResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not more than the session's limit."""
    emulator.faults.http("files/*", Delay(0.05), times=None)
    most = 0

    get = http.HttpTransport.get

    def watched(self: http.HttpTransport, *arguments: object) -> object:
        nonlocal most
        most = max(most, self.in_flight)
        return get(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(http.HttpTransport, "get", watched)
    await result.save(tmp_path)
    assert 1 < most <= http.MAX_DOWNLOADS


async def test_one_that_fails(emulator: WiroEmulator, result: TaskResult, tmp_path: Path) -> None:
    """The others are saved; the error is that of the first, and tells of more."""
    emulator.faults.http("files/*", Respond(403), times=2)
    with pytest.raises(DownloadError, match="403") as caught:
        await result.save(tmp_path)
    assert len(os.listdir(tmp_path)) == len(NAMES) - 2
    (note,) = caught.value.__notes__
    assert "and another one: " in note


async def test_a_directory_that_cannot_be(result: TaskResult, tmp_path: Path) -> None:
    """The usual error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await result.save(tmp_path / "file" / "out")


async def test_the_most_bytes_of_each(result: TaskResult, tmp_path: Path) -> None:
    """For all of them."""
    with pytest.raises(DownloadError, match="more than the 2999 allowed"):
        await result.save(tmp_path, max_bytes=2999)
    assert os.listdir(tmp_path) == []


async def zipped(result: TaskResult) -> bytes:
    return b"".join([chunk async for chunk in result.zip_stream()])


async def test_a_zip(result: TaskResult, tmp_path: Path) -> None:
    """Every reader finds each output, whole, under its own name."""
    archive = await zipped(result)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == SAFE
        assert [opened.read(name) for name in SAFE] == DATA
        ended = result.task.ended_at
        assert ended is not None
        assert opened.infolist()[0].date_time[:3] == (ended.year, ended.month, ended.day)
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_DEFLATED}


async def test_a_zip_for_readers_that_cannot_seek(result: TaskResult, tmp_path: Path) -> None:
    """Sizes come after each file, which is fine for deflated ones."""
    path = tmp_path / "all.zip"
    path.write_bytes(await zipped(result))
    listing = subprocess.run([sys.executable, "-m", "zipfile", "-l", str(path)], capture_output=True, text=True, check=True)
    assert all(name in listing.stdout for name in SAFE)


async def test_a_zip_of_text(wiro: AsyncWiro) -> None:
    """An LLM's answer is an output, too."""
    result = await wiro.run("emulator/writer", {"prompt": "tides", "seconds": 5})
    with zipfile.ZipFile(io.BytesIO(await zipped(result))) as opened:
        assert opened.read("answer.txt").decode() == result.text


async def test_a_zip_in_constant_memory(result: TaskResult, emulator: WiroEmulator) -> None:
    """Pieces come before everything is there, and none is larger than what a connection holds."""
    count, largest = emulator.ledger.count("files/*"), 0
    async for chunk in result.zip_stream():
        largest = max(largest, len(chunk))
        if chunk:
            assert emulator.ledger.count("files/*") == count + 1
            break
    assert largest < 300_000


async def test_a_zip_that_breaks_off(emulator: WiroEmulator, wiro: AsyncWiro, result: TaskResult) -> None:
    """An error instead of an archive that looks whole; nothing is left open."""
    emulator.faults.http("files/*", Cut(0), after=2, times=None)
    received = bytearray()
    with pytest.raises(DownloadError):
        async for chunk in result.zip_stream():
            received += chunk
    assert not zipfile.is_zipfile(io.BytesIO(received))
    assert wiro.statistics().requests == 0


async def test_leaving_a_zip(wiro: AsyncWiro, result: TaskResult) -> None:
    """Closing it frees the connection."""
    stream = result.zip_stream()
    await anext(stream)
    assert wiro.statistics().requests == 1
    await stream.aclose()
    assert wiro.statistics().requests == 0
