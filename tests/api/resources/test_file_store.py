"""`wiro.files`: uploads and folders."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import anyio
import pytest

from wiro_async import (
    APIError,
    AsyncWiro,
    ConnectionFailedError,
    DecodingError,
    File,
    InvalidInputError,
    RetryPolicy,
    Tuning,
)
from wiro_async.testing import Call, ResetAfter, Respond, WiroEmulator

PNG = b"\x89PNG not really"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file whose name is not plain ASCII."""
    path = tmp_path / "Katze ü 猫.png"
    path.write_bytes(PNG)
    return path


def uploads(emulator: WiroEmulator) -> list[Call]:
    """Return the uploads that arrived, even partly."""
    return [call for call in emulator.ledger.calls if call.endpoint == "File/Upload"]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """An async iterator."""
    for piece in data:
        yield piece


async def test_a_path(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """The unique name, the type and the bytes of the file arrive, and the record is returned."""
    uploaded = await wiro.files.upload(picture, folder_id="f1")
    (call,) = uploads(emulator)
    (part,) = call.files
    assert (part.field, part.content_type, part.data) == ("file", "image/png", PNG)
    assert call.parameters["folderid"] == "f1"
    assert part.name == uploaded.name
    assert uploaded.name.startswith("Katze ü 猫-")
    assert uploaded.name.endswith(".png")
    assert (uploaded.size, uploaded.content_type, uploaded.folder_id) == (len(PNG), "image/png", "f1")
    assert uploaded.id == uploaded.raw["id"]
    assert uploaded.added_at is not None
    await wiro.download(str(uploaded.url), picture.parent / "back")
    assert (picture.parent / "back").read_bytes() == PNG


async def test_no_secret_in_its_repr(wiro: AsyncWiro, picture: Path) -> None:
    """The URL contains an access key."""
    uploaded = await wiro.files.upload(picture)
    assert str(uploaded.raw["accesskey"]) in str(uploaded.url)
    assert str(uploaded.raw["accesskey"]) not in repr(uploaded)


async def test_the_same_file_twice(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """The service accepts each name once, so each upload gets a unique name."""
    names = {(await wiro.files.upload(picture)).name for _ in range(3)}
    assert len(names) == 3


@pytest.mark.parametrize(
    "name, kind",
    [("a.mp3", "audio/mpeg"), ("a.PDF", "application/pdf"), ("a.unknown-kind", "application/octet-stream")],
)
async def test_content_types(emulator: WiroEmulator, wiro: AsyncWiro, name: str, kind: str) -> None:
    """They are guessed from the name."""
    await wiro.files.upload(File(b"data", name))
    assert uploads(emulator)[0].files[0].content_type == kind


async def test_a_given_content_type(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """It is sent unchanged."""
    await wiro.files.upload(File(b"data", "a.bin", "image/webp"))
    assert uploads(emulator)[0].files[0].content_type == "image/webp"


async def test_an_open_file(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """It is sent from its current position, and the position is restored afterwards."""
    with picture.open("rb") as opened:
        opened.seek(4)
        await wiro.files.upload(opened)
        assert opened.tell() == 4
    assert uploads(emulator)[0].files[0].data == PNG[4:]
    assert int(uploads(emulator)[0].headers["content-length"]) > 0


class Pipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self.left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self.left.read(size)


async def test_files_of_unknown_size(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """A pipe or an async iterator is sent in chunks, without a length."""
    pipe: IO[bytes] = Pipe(PNG)  # type: ignore[assignment]
    await wiro.files.upload(pipe)
    await wiro.files.upload(File(pieces(b"one ", b"", b"two"), "numbers.txt"))
    first, second = uploads(emulator)
    assert [call.files[0].data for call in (first, second)] == [PNG, b"one two"]
    assert all("content-length" not in call.headers for call in (first, second))
    assert first.files[0].name.startswith("file-")


async def test_progress(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """It is reported in bytes after each piece and at the end, to functions and coroutine functions."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(2_500_000))
    reported: list[tuple[int, int | None]] = []

    async def report(sent: int, total: int | None) -> None:
        reported.append((sent, total))

    await wiro.files.upload(path, on_progress=report)
    assert reported == [(1_048_576, 2_500_000), (2_097_152, 2_500_000), (2_500_000, 2_500_000)]
    reported.clear()
    await wiro.files.upload(File(pieces(b"one", b"two"), "n.txt", on_progress=lambda *step: reported.append(step)))
    assert reported == [(3, None), (6, None)]


async def test_progress_of_a_run(wiro: AsyncWiro, picture: Path) -> None:
    """The progress of a file of a run is reported too."""
    reported: list[int] = []
    file = File(picture, "cat.png", on_progress=lambda sent, total: reported.append(sent))
    await wiro.submit("emulator/queued", {"inputImage": file})
    assert reported == [len(PNG)]


async def test_too_large_for_the_service(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """The limit is 100 MiB. Nothing of a larger file is sent."""
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, Tuning().max_upload + 1)
    with pytest.raises(InvalidInputError, match=r"104857601 bytes; the service accepts at most 104857600"):
        await wiro.files.upload(path)
    assert not emulator.ledger.calls


async def test_too_large_on_the_way(emulator: WiroEmulator) -> None:
    """The upload of a source of unknown size ends at the limit, and the service gets no complete file."""
    closed = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield b"12345"
        finally:
            closed = True

    emulator.tuning = Tuning(max_upload=10)
    async with AsyncWiro(**emulator.options()) as wiro:
        with pytest.raises(InvalidInputError, match="has 15 bytes; the service accepts at most 10"):
            await wiro.files.upload(File(endless(), "endless.txt"))
    assert closed
    assert all(call.status is None for call in uploads(emulator))


@pytest.mark.parametrize("wrong", ["photo.png", b"bytes", None, 7, ["photo.png"]], ids=repr)
async def test_invalid_files(emulator: WiroEmulator, wiro: AsyncWiro, wrong: object) -> None:
    """A str never opens one."""
    with pytest.raises(InvalidInputError, match="file is a"):
        await wiro.files.upload(wrong)  # type: ignore[arg-type]
    assert not emulator.ledger.calls


async def test_missing_files(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """They raise the usual errors before anything is sent."""
    with pytest.raises(FileNotFoundError):
        await wiro.files.upload(tmp_path / "none.png")
    with pytest.raises(IsADirectoryError):
        await wiro.files.upload(tmp_path)
    (tmp_path / "t.txt").write_text("text", encoding="utf-8")
    with (tmp_path / "t.txt").open(encoding="utf-8") as opened, pytest.raises(InvalidInputError, match="rb"):
        await wiro.files.upload(opened)  # type: ignore[arg-type]
    assert all(call.status is None for call in uploads(emulator))


async def test_a_file_that_shrinks(wiro: AsyncWiro, tmp_path: Path) -> None:
    """The upload fails, because the length was already sent."""
    path = tmp_path / "log.bin"
    path.write_bytes(os.urandom(3_000_000))

    def shrink(sent: int, total: int | None) -> None:
        os.truncate(path, 1_500_000)

    with pytest.raises(InvalidInputError, match=r"lost \d+ of its 3000000 bytes while it was sent"):
        await wiro.files.upload(path, on_progress=shrink)


async def test_a_file_that_grows(emulator: WiroEmulator, wiro: AsyncWiro, tmp_path: Path) -> None:
    """It is sent up to the size that was measured."""
    path = tmp_path / "log.bin"
    path.write_bytes(b"x" * 1_500_000)

    async def grow(sent: int, total: int | None) -> None:
        async with await anyio.open_file(path, "ab") as file:
            await file.write(b"y" * 100)

    assert (await wiro.files.upload(path, on_progress=grow)).size == 1_500_000


async def test_a_source_that_fails(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """The source's error is raised, not that of the broken connection."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await wiro.files.upload(File(failing(), "n.txt"))


async def test_it_is_sent_once(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """If the response is lost, the file may exist, so it is not sent again."""
    emulator.faults.http("File/Upload", ResetAfter())
    with pytest.raises(ConnectionFailedError):
        await wiro.files.upload(picture)
    assert len(uploads(emulator)) == 1


async def test_it_is_sent_again_when_refused(emulator: WiroEmulator, picture: Path) -> None:
    """After 429, the whole file is sent again, even an open one. A consumed source cannot be."""
    emulator.faults.http("File/Upload", Respond(429), times=2)
    async with AsyncWiro(**emulator.options(), retry=RetryPolicy(base=0.01)) as wiro:
        with picture.open("rb") as opened:
            await wiro.files.upload(opened)
        assert uploads(emulator)[-1].files[0].data == PNG
        emulator.faults.http("File/Upload", Respond(429), times=2)
        with pytest.raises(APIError, match="429"):
            await wiro.files.upload(File(pieces(b"once"), "n.txt"))


async def test_a_response_without_a_file(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """It raises `DecodingError`."""
    emulator.faults.http("File/*", Respond(200, '{"result":true,"list":[]}'), times=None)
    with pytest.raises(DecodingError, match="lists no file"):
        await wiro.files.upload(picture)
    with pytest.raises(DecodingError, match="lists no file"):
        await wiro.files.create_folder("new")


async def test_folders(emulator: WiroEmulator, wiro: AsyncWiro) -> None:
    """They are made, also inside each other."""
    parent = await wiro.files.create_folder("my_folder-1")
    child = await wiro.files.create_folder("sub", parent_id=parent.id)
    assert (parent.name, parent.parent_id, child.parent_id) == ("my_folder-1", None, parent.id)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "../x", None, 7])
async def test_folder_names(emulator: WiroEmulator, wiro: AsyncWiro, name: object) -> None:
    """A name that the service refuses is not sent."""
    with pytest.raises(InvalidInputError, match="letters, digits"):
        await wiro.files.create_folder(name)  # type: ignore[arg-type]
    assert not emulator.ledger.calls


async def test_ids_of_folders_may_be_numbers(emulator: WiroEmulator, wiro: AsyncWiro, picture: Path) -> None:
    """Some responses contain numbers. Other types are refused."""
    assert (await wiro.files.upload(picture, folder_id=5)).folder_id == "5"
    assert (await wiro.files.create_folder("inner", parent_id=5)).parent_id == "5"
    odd: Any
    for odd in (True, b"5", 5.0):
        with pytest.raises(InvalidInputError, match=r"folder_id is a .*give the id of a folder"):
            await wiro.files.upload(picture, folder_id=odd)
        with pytest.raises(InvalidInputError, match="parent_id is a"):
            await wiro.files.create_folder("inner", parent_id=odd)
