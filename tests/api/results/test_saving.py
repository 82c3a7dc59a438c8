"""The outputs of a run are saved together, under names that do not clash, or as one zip."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import ssl
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import pytest_asyncio

from wiro_async import (
    AsyncWiro,
    DownloadError,
    File,
    InvalidInputError,
    Output,
    OutputRecord,
    TaskResult,
    Tuning,
)
from wiro_async._engine.downloads.downloader import Downloader
from wiro_async._protocol.tasks.records import parse_task
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.tls import Tls
from wiro_async.testing import Cut, Delay, FileOutput, ModelScript, Respond, Script, WiroEmulator, timeline

if TYPE_CHECKING:
    from tests.conftest import Until

NAMES = ["0.png", "0.PNG", "../up.png", "0.png", "CON", ""]
SAFE = ["0.png", "0-2.PNG", "_up.png", "0-3.png", "_CON", "output"]
SEEKLESS = """
import json, struct, sys, zlib
data, found = open(sys.argv[1], "rb").read(), []
while data[:4] == b"PK\\3\\4":  # entry after entry, as they come; nothing is looked up in the directory at the end
    flags, method, _, _, _, _, _, name, extra = struct.unpack("<HHHHIIIHH", data[6:30])
    assert flags & 8 and method == 8
    inflate = zlib.decompressobj(-15)
    content = inflate.decompress(data[30 + name + extra :])
    found.append((data[30 : 30 + name].decode(), len(content)))
    assert inflate.eof and inflate.unused_data[:4] == b"PK\\7\\10"
    assert struct.unpack("<I", inflate.unused_data[4:8])[0] == zlib.crc32(content)
    data = inflate.unused_data[16:]
print(json.dumps(found))
"""
pytestmark = pytest.mark.tuning(download_pause=0.001, download_max_pause=0.002)
DATA = [os.urandom(3000) for _ in NAMES]


@pytest.fixture
def maker() -> ModelScript:
    """A model with six outputs."""
    outputs = tuple(FileOutput(f"{number}.png", "image/png", data) for number, data in enumerate(DATA))
    return ModelScript("emulator/maker", lambda given: Script(timeline(1), outputs))


@pytest.fixture
def emulator(
    maker: ModelScript, tls_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WiroEmulator]:
    """An emulator with the model."""
    monkeypatch.setattr(Tls, "context", tls_context)
    with WiroEmulator(speed=50, models=[maker]) as running:
        yield running


@pytest.fixture
def downloader(http: HttpTransport) -> Downloader:
    """For results that no session made."""
    return Downloader(http, "agent", 60.0, Tuning())


@pytest_asyncio.fixture
async def result(wiro: AsyncWiro, maker: ModelScript) -> AsyncIterator[TaskResult]:
    """Its result, with unsafe names."""
    made = await wiro.run(maker.slug)
    for output, name in zip(made.outputs, NAMES, strict=True):
        output.record = attrs.evolve(output.record, name=name)
    yield made


async def test_names_that_clash(result: TaskResult, tmp_path: Path) -> None:
    """Each output gets its own file, even if names differ by case only, or if files are replaced."""
    for overwrite in (False, True):
        paths = await result.save(tmp_path / "new" / "out", overwrite=overwrite)
        assert [path.name for path in paths] == SAFE
        assert [path.read_bytes() for path in paths] == DATA
    assert names_in(tmp_path / "new" / "out") == sorted(SAFE)
    again = await result.save(tmp_path / "new" / "out")
    assert not {path.name for path in again} & set(SAFE)
    assert len(names_in(tmp_path / "new" / "out")) == 2 * len(SAFE)


async def test_several_at_a_time(
    emulator: WiroEmulator, result: TaskResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloads run in parallel, up to the session's limit."""
    emulator.faults.http("files/*", Delay(0.05), times=None)
    most = 0

    get = HttpTransport.get

    def watched(self: HttpTransport, *arguments: object) -> object:
        nonlocal most
        most = max(most, self.in_flight)
        return get(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HttpTransport, "get", watched)
    await result.save(tmp_path)
    assert 1 < most <= Tuning().http_downloads


async def test_one_that_fails(emulator: WiroEmulator, result: TaskResult, tmp_path: Path) -> None:
    """The others are saved. The error is that of the first, and its notes name the others."""
    emulator.faults.http("files/*", Respond(403), times=2)
    with pytest.raises(DownloadError, match="403") as caught:
        await result.save(tmp_path)
    assert len(names_in(tmp_path)) == len(NAMES) - 2
    (note,) = caught.value.__notes__
    assert "and another one: " in note


async def test_a_directory_that_is_a_file(result: TaskResult, tmp_path: Path) -> None:
    """The usual error is raised."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await result.save(tmp_path / "file" / "out")


async def test_the_size_cap_of_each(result: TaskResult, tmp_path: Path) -> None:
    """It applies to every output."""
    with pytest.raises(DownloadError, match="more than the 2999 allowed"):
        await result.save(tmp_path, max_bytes=2999)
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """The names in a directory."""
    return sorted(path.name for path in folder.iterdir())


async def zipped(result: TaskResult) -> bytes:
    """The whole archive."""
    return b"".join([chunk async for chunk in result.zip_stream()])


async def test_an_output_without_content(downloader: Downloader, tmp_path: Path) -> None:
    """It has neither a URL nor text."""
    nothing = Output(OutputRecord(None, "x", "raw", None, {"new": 1}, {}), downloader)
    for act in (nothing.read(), nothing.save(tmp_path / "x")):
        with pytest.raises(DownloadError, match="neither a URL nor text"):
            await act
    assert names_in(tmp_path) == []


async def test_an_llms_text_streamed(wiro: AsyncWiro) -> None:
    """It is streamed like a file."""
    result = await wiro.run("emulator/writer", {"prompt": "tides", "seconds": 5})
    async with result.output.stream() as chunks:
        assert b"".join([chunk async for chunk in chunks]).decode() == result.text


async def test_a_zip(result: TaskResult, tmp_path: Path) -> None:
    """It holds each output, complete, under its own name."""
    archive = await zipped(result)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == SAFE
        assert [opened.read(name) for name in SAFE] == DATA
        ended = result.info.ended_at
        assert ended is not None
        assert opened.infolist()[0].date_time[:3] == (ended.year, ended.month, ended.day)
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_DEFLATED}


async def test_a_zip_for_readers_that_cannot_seek(result: TaskResult, tmp_path: Path) -> None:
    """The sizes follow each file, which is allowed for deflated entries."""
    path = tmp_path / "all.zip"
    path.write_bytes(await zipped(result))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SEEKLESS, str(path), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output) == [[name, len(data)] for name, data in zip(SAFE, DATA, strict=True)]


async def test_a_zip_of_text(wiro: AsyncWiro) -> None:
    """An LLM's answer is an output as well."""
    result = await wiro.run("emulator/writer", {"prompt": "tides", "seconds": 5})
    with zipfile.ZipFile(io.BytesIO(await zipped(result))) as opened:
        assert opened.read("answer.txt").decode() == result.text


async def test_a_zip_in_constant_memory(result: TaskResult, emulator: WiroEmulator) -> None:
    """The archive is sent while files arrive, in small pieces."""
    count, largest = emulator.ledger.count("files/*"), 0
    async for chunk in result.zip_stream():
        largest = max(largest, len(chunk))
        if chunk:
            assert emulator.ledger.count("files/*") == count + 1
            break
    assert largest < 300_000


async def test_a_zip_that_breaks_off(emulator: WiroEmulator, wiro: AsyncWiro, result: TaskResult) -> None:
    """The stream raises an error, its bytes are no valid archive, and no request is left."""
    emulator.faults.http("files/*", Cut(0), after=2, times=None)
    received = bytearray()
    with pytest.raises(DownloadError):  # noqa: PT012
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


async def test_a_zip_as_a_context_manager(wiro: AsyncWiro, result: TaskResult) -> None:
    """Leaving the block frees the connection, at the end or earlier."""
    async with result.zip_stream() as chunks:
        archive = b"".join([chunk async for chunk in chunks])
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == SAFE
    with pytest.raises(LookupError):  # noqa: PT012
        async with result.zip_stream() as chunks:
            async for _ in chunks:
                raise LookupError
    assert wiro.statistics().requests == 0


@pytest.mark.parametrize("ended", ["99999999999", "4354819200", "0", "-5"])
async def test_a_zip_of_any_time(result: TaskResult, downloader: Downloader, ended: str) -> None:
    """A zip can express the years from 1980 to 2107."""
    task = parse_task({**result.info.raw, "endtime": ended})
    again = TaskResult(task, downloader)
    assert len(zipfile.ZipFile(io.BytesIO(await zipped(again))).namelist()) == len(SAFE)


async def test_a_stream_in_a_plain_loop(wiro: AsyncWiro, result: TaskResult, until: Until) -> None:
    """Its connection is freed at the end, by `aclose()`, or after a `break` with the stream itself."""
    assert b"".join([chunk async for chunk in result.outputs[1].stream()]) == DATA[1]
    assert wiro.statistics().requests == 0
    stream = result.outputs[1].stream()
    async for _ in stream:
        break
    assert wiro.statistics().requests == 1
    await stream.aclose()
    await stream.aclose()
    assert wiro.statistics().requests == 0
    assert [chunk async for chunk in stream] == []

    async def leave() -> None:
        async for _ in result.outputs[1].stream():
            break

    await leave()
    await until(lambda: gc.collect() >= 0 and not wiro.statistics().requests)


async def test_errors_name_the_task(
    emulator: WiroEmulator, result: TaskResult, downloader: Downloader, tmp_path: Path
) -> None:
    """Every way to read an output does, even if there is no output."""
    emulator.faults.http("files/*", Respond(403), times=None)

    async def streamed() -> None:
        async for _ in result.output.stream():
            pass

    async def entered() -> None:
        async with result.output.stream():
            pass

    nothing = TaskResult(attrs.evolve(result.info, outputs=()), downloader)

    async def absent() -> None:
        _ = nothing.output

    saving = [result.output.save(tmp_path / "a"), result.save(tmp_path)]
    for act in (result.output.read(), streamed(), entered(), zipped(result), absent(), *saving):
        with pytest.raises(DownloadError) as caught:
            await act
        assert (caught.value.task_id, caught.value.token) == (result.info.id, result.info.token)


async def test_errors_of_the_block(result: TaskResult) -> None:
    """An error that the block raises does not get the task of the output."""
    error = DownloadError("mine")
    with pytest.raises(DownloadError) as caught:
        async with result.output.stream():
            raise error
    assert caught.value is error
    assert (error.task_id, error.token) == (None, None)


async def test_an_output_as_the_next_input(wiro: AsyncWiro, result: TaskResult) -> None:
    """The error says to give its URL instead."""
    with pytest.raises(InvalidInputError, match=r"'0\.png' is a Output, .*; give its url"):
        await wiro.files.upload(File(result.output, "0.png"))  # type: ignore[arg-type]
