"""Going on where a download broke off: ranges and the conditions that keep them honest (RFC 9110, 13.1.5 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII)
LENGTH = re.compile(r"\d{1,18}", re.ASCII)
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
WHOLE, PART, NOT_SATISFIABLE = 200, 206, 416


@attrs.frozen
class Offer:
    """What the head of an answer promises.

    Attributes:
        length: bytes of this answer's body, where told; None if it comes encoded, for then it says nothing.
        span: first byte, last byte and total of a part, where told.
        etag: a strong one.
        modified: the time of its last change, as it is written.
        validator: what `If-Range` can be asked with.
    """

    status: int
    length: int | None
    span: tuple[int, int, int | None] | None
    etag: str | None
    modified: str | None
    validator: str | None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str]) -> Offer:
        """Read the headers, whose names are case-insensitive."""
        if is_encoded(headers):
            return cls(status, None, None, None, None, None)
        told = headers.get("etag", "")
        etag = told if STRONG_ETAG.fullmatch(told) else None
        length = headers.get("content-length", "")
        return cls(
            status,
            int(length) if LENGTH.fullmatch(length) else None,
            _span(headers.get("content-range", "")),
            etag,
            headers.get("last-modified"),
            etag or (None if told else _strong_date(headers)),
        )


@attrs.frozen
class Start:
    """How an answer is to be read.

    Attributes:
        anew: it begins at the file's first byte, and what came before is void.
        skip: so many of its first bytes are known already.
    """

    anew: bool = False
    skip: int = 0


@attrs.define
class Transfer:
    """How much of a file has come, and how to ask for the rest.

    Attributes:
        size: how many bytes it should have by the service's record, where known.
        total: how many it has by its server, where told.
        received: how many have come.
    """

    size: int | None = None
    total: int | None = None
    received: int = 0
    _validator: str | None = None
    _etag: str | None = None
    _modified: str | None = None
    _ranges: bool = True
    _skip: int = 0

    def headers(self) -> dict[str, str]:
        """What to ask with: for the rest where that is safe, else for all of it."""
        if not self._asks_for_rest:
            return {}
        assert self._validator is not None
        return {"Range": f"bytes={self.received}-", "If-Range": self._validator}

    def begin(self, offer: Offer) -> Start | None:
        """How to take an answer; None if it does not fit, and the whole file must be asked for."""
        self._skip = 0
        if offer.status == WHOLE:
            return self._whole(offer)
        fits = offer.status == PART and self._asks_for_rest and self._fits(offer)
        self._ranges = fits
        return Start() if fits else None

    def take(self, chunk: bytes) -> bytes:
        """What is new of a chunk."""
        if self._skip:
            known = min(self._skip, len(chunk))
            self._skip -= known
            chunk = chunk[known:]
        self.received += len(chunk)
        return chunk

    @property
    def is_short(self) -> bool:
        """Whether the server promised more than has come."""
        return self._skip > 0 or (self.total is not None and self.received < self.total)

    @property
    def problem(self) -> str | None:
        """Why what came, or is offered, cannot be the file; None if all fits so far."""
        told = self.received if self.total is None else self.total
        if self.size is not None and self.size != told:
            return f"it should have {self.size} bytes but has {told}"
        if self.total is not None and self.received > self.total:
            return f"it should have {self.total} bytes but gave {self.received}"
        return None

    @property
    def _asks_for_rest(self) -> bool:
        return bool(self.received and self._ranges and self._validator)

    def _whole(self, offer: Offer) -> Start:
        is_same = self.received > 0 and offer.etag is not None and self._is_same(offer)
        self.total, self._validator = offer.length, offer.validator
        self._etag, self._modified = offer.etag, offer.modified
        if is_same:
            self._skip = self.received
            return Start(skip=self.received)
        self.received = 0
        return Start(anew=True)

    def _fits(self, offer: Offer) -> bool:
        if offer.span is None or not self._is_same(offer):
            return False
        first, last, total = offer.span
        ends = {end for end in (total, self.total or self.size) if end is not None}
        if len(ends) != 1:
            return False
        (self.total,) = ends
        return first == self.received and last < self.total and offer.length in (None, last - first + 1)

    def _is_same(self, offer: Offer) -> bool:
        """Not every server heeds `If-Range`, so a part must show that it is of the same file (RFC 9110, 15.3.7)."""
        return offer.etag == self._etag and (
            None in (offer.modified, self._modified) or offer.modified == self._modified
        )


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the body is not the file itself but something that must be decoded first."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def _span(header: str) -> tuple[int, int, int | None] | None:
    found = CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def _strong_date(headers: Mapping[str, str]) -> str | None:
    """A `Last-Modified` that cannot have changed unseen: it is older than the answer (RFC 9110, 8.8.2.2)."""
    from email.utils import parsedate_to_datetime

    modified = headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(headers.get("date", "")) - parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return None
    return modified if age.total_seconds() >= 1 else None
