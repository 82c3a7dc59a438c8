"""Write URLs the way they go out: only what HTTP cannot carry is quoted.

A signature covers the exact bytes of a URL. Libraries that parse a URL and put it together again change more than they
must: one character outside ASCII, and every `%40` becomes `%2540`; dots are resolved, empty parameters vanish. So a URL
is quoted here, once, as text, and nothing in it is ever decoded.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

UNSENDABLE = re.compile(r"[^\x21-\x7e]+")  # what a request line cannot hold
AUTHORITY = re.compile(r"([^/?#]*//[^/?#]*)?(.*)", re.DOTALL)


def wire_url(url: str) -> str:
    """Quote what a URL cannot hold. Its host stays as it is, and so does all that is quoted already.

    Text is quoted as UTF-8; a lone surrogate stands for the byte that it was decoded from.
    """
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    found = AUTHORITY.fullmatch(url)
    assert found is not None
    return f"{found[1] or ''}{UNSENDABLE.sub(_quoted, found[2])}"


def target_of(url: str) -> str:
    """The path and the query of a URL as a request line holds them."""
    found = AUTHORITY.fullmatch(wire_url(url).partition("#")[0])
    assert found is not None
    return found[2] if found[2].startswith("/") else f"/{found[2]}"


def location_of(url: str, location: str) -> str:
    """Where a redirect leads: a complete URL as it is, another one relative to the URL that redirects.

    Raises:
        ValueError: it is no URL.
    """
    target = wire_url(location.strip())
    if urlsplit(target).scheme:
        return target
    base = urlsplit(url)
    if target.startswith("//"):
        return f"{base.scheme}:{target}"
    if target.startswith("/"):
        return f"{base.scheme}://{base.netloc}{target}"
    return urljoin(url, target)


def with_query(url: str, addition: str) -> str:
    """Add a parameter behind the query of a URL, which stays as it is."""
    rest, mark, fragment = url.partition("#")
    query_mark, query = rest.partition("?")[1:]
    joint = "?" if not query_mark else "&" if query and not query.endswith("&") else ""
    return f"{rest}{joint}{addition}{mark}{fragment}"


def _quoted(match: re.Match[str]) -> str:
    return quote(match[0], safe="", errors="surrogateescape")
