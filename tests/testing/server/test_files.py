"""Uploads, folders, downloads, ranges."""

from typing import TYPE_CHECKING

import pytest

from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from tests.testing.conftest import Api


async def test_upload(api: "Api", emulator: WiroEmulator) -> None:
    """An uploaded file is listed, and can be downloaded without a key."""
    files = {"file": ("kitten ü.png", b"not really", "image/png")}
    answer = await api.http.post(f"{emulator.base_url}/File/Upload", files=files, data={"folderid": "f1"})
    [entry] = answer.json()["list"]
    assert (entry["name"], entry["contenttype"], entry["size"]) == ("kitten ü.png", "image/png", "10")
    assert entry["parentid"] == "f1"
    assert (await api.http.get(entry["url"], headers={"x-api-key": ""})).content == b"not really"
    assert (await api.post("File/Upload"))["errors"][0]["message"] == "Request files [file] required"


async def test_folders(api: "Api") -> None:
    """Names have letters, digits, - and _."""
    [folder] = (await api.post("File/FolderCreate", {"name": "my_new-folder", "parentid": "p"}))["list"]
    assert (folder["name"], folder["parentid"]) == ("my_new-folder", "p")
    assert (await api.post("File/FolderCreate"))["result"] is False
    assert (await api.post("File/FolderCreate", {"name": "a/b"}))["result"] is False


@pytest.fixture
async def url(api: "Api", emulator: WiroEmulator) -> str:
    """The URL of a file with ten digits."""
    files = {"file": ("digits.txt", b"0123456789", "text/plain")}
    answer = await api.http.post(f"{emulator.base_url}/File/Upload", files=files)
    return str(answer.json()["list"][0]["url"])


@pytest.mark.parametrize(
    "asked,status,body,described",
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=5-2", 416, b"", "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_ranges(api: "Api", url: str, asked: str, status: int, body: bytes, described: str | None) -> None:
    """A range returns a part of the file."""
    answer = await api.http.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers.get("content-range") == described
    assert answer.headers["content-length"] == str(len(body))


async def test_if_range(api: "Api", url: str) -> None:
    """With the tag of another file, the whole file is sent."""
    whole = await api.http.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    same = {"range": "bytes=5-", "if-range": whole.headers["etag"]}
    assert (await api.http.get(url, headers=same)).content == b"56789"
    other = {"range": "bytes=5-", "if-range": '"other"'}
    assert (await api.http.get(url, headers=other)).content == b"0123456789"
    head = await api.http.head(url)
    assert (head.headers["content-length"], head.content) == ("10", b"")


async def test_unknown_files(api: "Api", url: str, emulator: WiroEmulator) -> None:
    """Key and name must both match."""
    assert (await api.http.get(f"{emulator.base_url}/File/nokey/digits.txt")).status_code == 404
    assert (await api.http.get(url + ".bak")).status_code == 404
    assert emulator.ledger.count("files/nokey/*") == 1
