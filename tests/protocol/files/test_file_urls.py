"""URLs of files, and their redirects."""

from __future__ import annotations

import pytest

from wiro_async._errors import DownloadError
from wiro_async._protocol.files.file_urls import checked_url, name_in, redirected

SOURCE = "https://127.0.0.1/SECRET/fox.bin"


@pytest.mark.parametrize("url", ["http://files.test/x", "https://files.test:8443/x?y=1", "http://[::1]/x"])
def test_urls_of_the_web(url: str) -> None:
    """They are accepted unchanged."""
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "fox.bin", "ftp://x/y", "file:///etc/passwd", "http://", "http://x:99999/", "http://[", "http://x:0/"]
)
def test_other_urls(url: str) -> None:
    """They raise an error that names the URL."""
    with pytest.raises(DownloadError, match="cannot be fetched: it is not an http or https URL"):
        checked_url(url)


@pytest.mark.parametrize(
    "location, target",
    [
        ("//127.0.0.1:1/x", "https://127.0.0.1:1/x"),
        ("moved.bin", "https://127.0.0.1/SECRET/moved.bin"),
        ("/moved.bin", "https://127.0.0.1/moved.bin"),
        ("https://other.test/x", "https://other.test/x"),
    ],
)
def test_redirects(location: str, target: str) -> None:
    """They are followed, also to other hosts."""
    assert redirected(SOURCE, location) == target


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/plain.bin", "file:///etc/passwd", "http://[::1", "//["])
def test_redirects_that_leave_https(location: str) -> None:
    """A file that was requested under protection is not fetched without it."""
    with pytest.raises(DownloadError, match="redirects from https") as caught:
        redirected(SOURCE, location)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "url, name", [("http://x/a/b%C3%A4r.png?x=1", "bär.png"), ("http://x/", ""), ("http://x", ""), ("http://[", "")]
)
def test_names(url: str, name: str) -> None:
    """The last part of the path."""
    assert name_in(url) == name
