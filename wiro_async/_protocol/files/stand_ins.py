"""Recognise a page that came instead of a file, such as the login of a network."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from wiro_async._errors import DownloadError
from wiro_async._protocol.files.file_urls import name_in
from wiro_async._protocol.files.filenames import split_name
from wiro_async._protocol.http.foreign_pages import describe_body, is_declared_html, looks_like_html
from wiro_async._redaction import shorten_url

HTML_SUFFIXES = (".html", ".htm", ".xhtml")


def check_no_stand_in(url: str, target: str, size: int | None, headers: Mapping[str, str], beginning: bytes) -> None:
    """Raise `DownloadError` if a successful response is a page, and the file is none.

    A page must be declared as one and look like one, so no odd header costs a file. A file whose name says nothing may
    be a page, unless another host gave it.

    Args:
        url: of the file.
        target: where its redirects led.
        size: bytes that the file should have, if known.
        headers: of the response; names are case-insensitive.
        beginning: the first bytes of its body.
    """
    if not (is_declared_html(headers) and looks_like_html(beginning)):
        return
    if size is not None and headers.get("content-length") == str(size):
        return
    host, suffix = urlsplit(target).hostname, split_name(name_in(url).lower())[1]
    was_redirected = host != urlsplit(url).hostname
    if suffix in HTML_SUFFIXES or (not suffix and not was_redirected):
        return
    who = f"was redirected to {host}, which" if was_redirected else "is not what its server sent: it"
    raise DownloadError(
        f"{shorten_url(url)} {who} answered with {describe_body(headers, beginning)} instead of the file; "
        "log in to this network, or check what stands between you and the file, then download it again"
    )
