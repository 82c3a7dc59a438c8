"""Sources that can be read once are sent once, and a pipe without data blocks nothing else."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any

import attrs
import pytest

from wiro_async import AsyncWiro, InvalidInputError
from wiro_async._transport.files.upload_reader import chunks_of
from wiro_async._transport.http.multipart import Multipart
from wiro_async._types import File, consume
from wiro_async.testing import WiroEmulator

ONCE = "can be sent only once"


class Slotted:
    """An async iterable without weak references."""

    __slots__ = ()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        yield b"abc"


class Pipe(io.BytesIO):
    """A file that cannot be read again."""

    def seekable(self) -> bool:
        """Always False."""
        return False


async def pieces() -> AsyncGenerator[bytes, None]:
    """A generator."""
    yield b"abc"


@pytest.fixture
def idle() -> Iterator[IO[bytes]]:
    """A pipe without data."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        yield pipe
        os.close(writing)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A named pipe, whose reader is released at the end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


async def body(*files: File) -> bytes:
    """The body of a request with these files."""
    multipart = await Multipart.of([("f", file) for file in files])
    return b"".join([chunk async for chunk in multipart.chunks()])


@pytest.mark.parametrize("source", [pieces, Slotted, lambda: Pipe(b"abc")], ids=["iterator", "slots", "pipe"])
async def test_a_second_body_is_refused_before_it_begins(source: Callable[[], Any]) -> None:
    """A consumed source is consumed for every `File` around it, because it has no data left."""
    file = File(source(), "a.bin")
    early = await Multipart.of([("f", file)])
    assert not file.is_consumed
    assert b"abc" in await body(file)
    for again in (file, File(file.data, "b.bin"), attrs.evolve(file, name="c.bin")):
        assert again.is_consumed
        with pytest.raises(InvalidInputError, match=ONCE):
            await Multipart.of([("f", again)])
    async with aclosing(early.chunks()) as chunks:
        with pytest.raises(InvalidInputError, match=ONCE):
            await anext(chunks)


async def test_the_same_source_twice_in_one_body() -> None:
    """It is refused, and not consumed."""
    source = pieces()
    with pytest.raises(InvalidInputError, match=ONCE):
        await Multipart.of([("a", File(source, "a.bin")), ("b", File(source, "b.bin"))])
    assert b"abc" in await body(File(source, "a.bin"))


async def test_sources_that_can_be_sent_again(tmp_path: Path) -> None:
    """Bytes, regular files, open files and files of the system are, also twice in one body."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"xyz")
    with path.open("rb") as opened:
        files = [File(data, "a.bin") for data in (b"xyz", path, opened, io.BytesIO(b"xyz"))]
        for _ in range(2):
            assert (await body(*files, *files)).count(b"xyz") == 8
        assert not any(file.is_consumed for file in files)
    system = File(Path("/proc/self/status"), "status")
    assert (await body(system, system)).count(b"Name:") == 2


async def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """A path that names a pipe is a source that can be read once."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writing = asyncio.create_task(asyncio.to_thread(path.write_bytes, b"abc"))
    assert b"abc" in await body(File(path, "a.bin"))
    await writing
    with pytest.raises(InvalidInputError, match=ONCE):
        await Multipart.of([("f", File(path, "a.bin"))])


def test_consumed_sources_are_forgotten() -> None:
    """The mark ends with the source. Another one at its place in memory does not inherit it."""
    for _ in range(100):
        file = File(Pipe(b"abc"), "a.bin")
        assert not file.is_consumed
        consume(file)
        assert file.is_consumed


async def test_a_run_with_a_consumed_source(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The second run is not sent: it would be billed for an empty file."""
    file = File(pieces(), "a.bin")
    await wiro.submit("emulator/sleeper", {"f": file})
    for given in (file, [file, File(b"x", "b.bin")]):
        with pytest.raises(InvalidInputError, match=ONCE):
            await wiro.submit("emulator/sleeper", {"f": given})
    assert [part.data for one in emulator.ledger.submissions for part in one.files] == [b"abc"]


@pytest.mark.parametrize("kind", ["open", "path"])
async def test_leaving_an_idle_pipe(idle: IO[bytes], fifo: Path, kind: str) -> None:
    """Cancelling does not wait for the read."""
    reading = asyncio.create_task(body(File(idle if kind == "open" else fifo, "a.bin")))
    await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait([reading], timeout=10)
    assert reading.cancelled()


async def test_idle_pipes_block_no_other_file(idle: IO[bytes], tmp_path: Path) -> None:
    """Each of many is read in a thread of its own, under a lock of its own."""
    sources: list[Any] = [idle]
    paths = [tmp_path / str(number) for number in range((os.cpu_count() or 1) + 6)]
    for path in paths:
        os.mkfifo(path)
    sources += paths
    waiting = [asyncio.create_task(body(File(source, "a.bin"))) for source in sources]
    await asyncio.sleep(0.05)
    (tmp_path / "real").write_bytes(b"abc")
    others = [asyncio.create_task(body(File(data, "b.bin"))) for data in (tmp_path / "real", io.BytesIO(b"abc"))]
    done, _ = await asyncio.wait(others, timeout=10)
    for task in waiting:
        task.cancel()
    for path in paths:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    await asyncio.wait([*waiting, *others], timeout=10)
    assert len(done) == 2


async def test_a_pipe_whose_reader_left_is_closed(fifo: Path, open_files: Callable[[], set[str]], until: Any) -> None:
    """It is closed as soon as the pending read returns."""
    async with aclosing(chunks_of(File(fifo, "a.bin"))) as chunks:
        writing = os.open(fifo, os.O_RDWR)
        os.write(writing, b"abc")
        assert await anext(chunks) == b"abc"
    os.write(writing, b"def")
    os.close(writing)
    await until(lambda: not any("fifo" in name for name in open_files()))
