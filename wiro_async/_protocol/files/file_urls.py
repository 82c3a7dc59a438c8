"""Check the URLs of files, and follow their redirects."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from wiro_async._errors import DownloadError
from wiro_async._protocol.http.wire_urls import location_of
from wiro_async._redaction import shorten_url

REDIRECTS = frozenset({301, 302, 303, 307, 308})


def checked_url(url: str) -> str:
    """Return the URL. Raise `DownloadError` if it is not one of the web: nothing of this machine is ever read."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise DownloadError(
            f"{shorten_url(url)} cannot be fetched: it is not an http or https URL; give a complete one"
        )
    return url


def redirected(url: str, location: str) -> str:
    """Return where a redirect leads. Raise `DownloadError` if it leads from https to a URL that is not protected."""
    try:
        target = location_of(url, location)
    except ValueError:
        target = ""
    if urlsplit(url).scheme == "https" and not target.lower().startswith("https:"):
        raise DownloadError(
            f"{shorten_url(url)} redirects from https to a URL without it, which the SDK does not follow"
        )
    return target


def name_in(url: str) -> str:
    """Return the last part of the URL's path, "" if it has none."""
    try:
        return unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    except ValueError:
        return ""
