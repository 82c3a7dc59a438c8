"""Put a file together from one or more responses, without any I/O.

Large downloads break off, and asking for the rest is risky: the file may have been replaced meanwhile, and servers
ignore `Range` or `If-Range`, or send another part than the requested one. Bytes of two versions would make a file that
looks complete and is broken. So a part is taken only if it provably continues the same bytes: same validator, exactly
the first byte that is missing, same total. Everything else starts over, and every size that somebody named is checked.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from wiro_async._errors import TransportError
from wiro_async._protocol.files.byte_ranges import Offer

OK, PARTIAL_CONTENT = 200, 206
LATE = frozenset({404, 408, 425, 429, *range(500, 600)} - {511})  # a new output's URL may answer these for some time
# What only something before the file's server answers. Others, such as 403, may be about the file itself.
REMEDIES = {
    407: "the proxy wants a login: put name:password@ before its host in HTTPS_PROXY",
    511: "this network wants a login first: open a page in a browser, then download it again",
}


@attrs.frozen
class Receive:
    """Read the response's body."""

    starts_over: bool = False  # it begins at the file's first byte. Discard what was received before.


@attrs.frozen
class Complete:
    """The attempt gave the rest of the file."""


@attrs.frozen
class Late:
    """The file is not there yet, or its server is busy."""

    reason: str
    retry_after: float | None = None  # seconds that the server asks to wait


@attrs.frozen
class Broken:
    """The transfer ended early."""

    reason: str


@attrs.frozen
class Wrong:
    """The server's response contradicts the file's known size."""

    reason: str


@attrs.frozen
class Refused:
    """Another attempt would end alike."""

    problem: str  # the end of a sentence that begins with the file's URL


Failure: TypeAlias = Late | Broken | Wrong | Refused


def transport_failure(error: TransportError) -> Broken | Refused:
    """Decide what it means that the connection failed before or during the response."""
    return Refused(f"cannot be fetched: {error}") if error.permanent else Broken(str(error))


@attrs.define
class Transfer:
    """How much of a file has arrived, and which response may continue it.

    Args:
        size: bytes that it should have by the service's record, if known.
        cap: the most bytes that it may have, None for no limit.
    """

    size: int | None = None
    cap: int | None = None
    received: int = attrs.field(default=0, init=False)  # bytes that have arrived
    total: int | None = attrs.field(default=None, init=False)  # bytes that it has by its server, if known
    _source: Offer | None = attrs.field(default=None, init=False)  # the response that sent the first byte
    _takes_parts: bool = attrs.field(default=True, init=False)
    _skip: int = attrs.field(default=0, init=False)

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest where that is safe, else for the whole file."""
        if self._validator is None:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self._validator}

    def begin(self, offer: Offer) -> Receive | Failure:
        """Decide what to do with a response whose head has arrived."""
        asked_for_rest = self._validator is not None
        self._skip = 0
        if offer.status in LATE:
            return Late(f"HTTP {offer.status}", offer.retry_after)
        if offer.status == OK:
            # Some servers answer a range with the whole file. With the same strong ETag its beginning is known.
            if self.received and offer.etag is not None and self._is_same_file(offer):
                self._skip = self.received
            else:
                self.received = 0
            self.total, self._source = offer.length, offer
            receive = Receive(starts_over=not self._skip)
        elif asked_for_rest and offer.status == PARTIAL_CONTENT and self._is_the_rest(offer):
            receive = Receive()
        elif asked_for_rest:
            self._takes_parts = False
            return Broken(f"HTTP {offer.status}, which is not the rest that was asked for")
        else:
            check = REMEDIES.get(offer.status, "check that the URL is complete and the file not deleted")
            return Refused(f"answered HTTP {offer.status}; {check}")
        return self.too_large or (None if self.total is None else self._contradiction) or receive

    def take(self, chunk: bytes) -> bytes:
        """Count a piece of the body, and return what is new of it."""
        if self._skip:
            known = min(self._skip, len(chunk))
            self._skip -= known
            chunk = chunk[known:]
        self.received += len(chunk)
        return chunk

    def end(self) -> Complete | Failure:
        """Decide what a body that has ended, or was left because it is too large, has brought."""
        if self._skip or (self.total is not None and self.received < self.total):
            short = Broken(f"it ended after {self.received} of {self.total} bytes")
            return self.too_large or short
        return self.too_large or self._contradiction or Complete()

    @property
    def too_large(self) -> Refused | None:
        """Whether the file has more bytes than it may have."""
        if self.cap is None:
            return None
        if self.size is not None and self.size > self.cap:
            has = f"{self.size}"
        elif (least := max(self.received, self.total or 0)) > self.cap:
            has = f"at least {least}"
        else:
            return None
        return Refused(f"has {has} bytes, more than the {self.cap} allowed; raise max_bytes to have it")

    @property
    def _contradiction(self) -> Wrong | None:
        has = self.received if self.total is None else self.total
        if self.size is not None and self.size != has:
            return Wrong(f"it should have {self.size} bytes but has {has}")
        if self.total is not None and self.received > self.total:
            return Wrong(f"it should have {self.total} bytes but gave {self.received}")
        return None

    @property
    def _validator(self) -> str | None:
        """The condition for asking for the rest; None if the whole file must be asked for."""
        if not self.received or not self._takes_parts or self._source is None:
            return None
        return self._source.validator

    def _is_the_rest(self, offer: Offer) -> bool:
        if offer.span is None or not self._is_same_file(offer):
            return False
        first, last, total = offer.span
        totals = {known for known in (total, self.total or self.size) if known is not None}
        if len(totals) != 1:
            return False
        (self.total,) = totals
        return first == self.received and last < self.total and offer.length in (None, last - first + 1)

    def _is_same_file(self, offer: Offer) -> bool:
        # Not every server honours If-Range, so the response itself must show it (RFC 9110, 15.3.7).
        source = self._source
        return (
            source is not None
            and offer.etag == source.etag
            and (None in (offer.modified, source.modified) or offer.modified == source.modified)
        )
