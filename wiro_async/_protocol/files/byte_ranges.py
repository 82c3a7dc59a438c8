"""Read what a response offers of a file: sizes, ranges and validators (RFC 9110, 13.1.5 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from wiro_async._protocol.http.responses import parse_retry_after

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


@attrs.frozen
class Offer:
    """What the head of a response says about the file. Unknown values, and values that cannot be right, are None.

    Attributes:
        retry_after: seconds that the server asks to wait.
        length: bytes of this response's body. None if the body is encoded: its length is not the file's.
        span: first byte, last byte and total of a part.
        is_part: whether the response says that its body is not the whole file, or says so in words nobody understands.
        etag: a strong one.
        tag: an ETag of any kind.
        modified: the time of the last change, as the server writes it.
        validator: the value for `If-Range`.
    """

    status: int
    retry_after: float | None = None
    length: int | None = None
    span: tuple[int, int, int | None] | None = None
    is_part: bool = False
    tag: str = ""
    etag: str | None = None
    modified: str | None = None
    validator: str | None = None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], now: float = 0.0) -> Offer:
        """Read a response's headers.

        Args:
            headers: names are case-insensitive.
            now: the unix time, for a `Retry-After` that is a date.
        """
        wait = parse_retry_after(headers.get("retry-after"), now)
        if headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
            return cls(status, wait, is_part="content-range" in headers)
        etag = headers.get("etag", "")
        strong = etag if STRONG_ETAG.fullmatch(etag) else None
        given_length = headers.get("content-length", "")
        length = int(given_length) if LENGTH.fullmatch(given_length) else None
        span = _span(headers.get("content-range", ""))
        is_multipart = headers.get("content-type", "").lower().startswith("multipart/byteranges")
        is_whole = span is not None and span[0] == 0 and span[1] + 1 == span[2] == (length or span[2])
        return cls(
            status,
            wait,
            length,
            None if is_multipart else span,
            is_multipart or ("content-range" in headers and not is_whole),
            etag,
            strong,
            headers.get("last-modified"),
            strong or (None if etag else _strong_date(headers)),
        )


def _span(header: str) -> tuple[int, int, int | None] | None:
    found = CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def _strong_date(headers: Mapping[str, str]) -> str | None:
    """Return `Last-Modified` if the file cannot have changed unnoticed since then (RFC 9110, 8.8.2.2).

    Its resolution is a second, so it has to be at least a second older than the response.
    """
    from email.utils import parsedate_to_datetime

    modified = headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(headers.get("date", "")) - parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return None
    return modified if age.total_seconds() >= 1 else None
