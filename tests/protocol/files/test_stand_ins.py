"""A page that came instead of a file, as a table."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from wiro_async import DownloadError
from wiro_async._protocol.files.stand_ins import check_no_stand_in

PAGE, PNG = b"<!doctype html><title>Log in</title>", b"\x89PNG"
HTML = "text/html; charset=utf-8"
CDN, LOGIN = "https://cdn1.wiro.ai/KEY/", "https://login.example/x.png"


@pytest.mark.parametrize(
    "name, target, content_type, length, beginning, is_stand_in",
    [
        ("0.png", CDN, HTML, None, PAGE, True),
        ("0.png", LOGIN, HTML, None, PAGE, True),
        ("file", LOGIN, HTML, None, PAGE, True),
        ("0.PNG", CDN, "application/xhtml+xml", None, PAGE, True),
        ("0.png", CDN, HTML, "99", PAGE, True),
        ("0.png", CDN, HTML, "36", PAGE, False),  # as long as the service says
        ("file", CDN, HTML, None, PAGE, False),
        ("", CDN, HTML, None, PAGE, False),
        ("a.html", LOGIN, HTML, None, PAGE, False),
        ("a.HTM", CDN, HTML, None, PAGE, False),
        ("0.png", CDN, HTML, None, PNG, False),
        ("0.txt", CDN, "text/plain", None, PAGE, False),
        ("0.png", CDN, "image/png", None, PNG, False),
    ],
)
def test_pages_and_files(
    name: str, target: str, content_type: str, length: str | None, beginning: bytes, is_stand_in: bool
) -> None:
    """A body that is declared as a page and looks like one is refused, unless the name allows it."""
    headers = {"content-type": content_type} | ({} if length is None else {"content-length": length})
    raised = pytest.raises(DownloadError) if is_stand_in else nullcontext()
    with raised as caught:
        check_no_stand_in(CDN + name, target, 36, headers, beginning)
    assert "KEY" not in str(caught and caught.value)
