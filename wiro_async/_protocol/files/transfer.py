"""Put a file together from one or more responses, without any I/O.

Large downloads break off, and asking for the rest is risky: the file may have been replaced meanwhile, and servers
ignore `Range` or `If-Range`, or send another part than the requested one. Bytes of two versions would make a file that
looks complete and is broken. So a part is taken only if it provably continues the same bytes: same validator, exactly
the first byte that is missing, same total. A whole file is taken in answer to a request for the rest only if it has the
length of the whole file. Everything else is asked for once more, as a whole, and every size that somebody named is
checked.
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


def _size(size: int | None) -> int | None:
    return size or None  # the service writes 0 for what it has not measured


@attrs.define
class Transfer:
    """How much of a file has arrived, and which response may continue it.

    Args:
        size: bytes that it should have by the service's record, if known.
        cap: the most bytes that it may have, None for no limit.
    """

    size: int | None = attrs.field(default=None, converter=_size)
    cap: int | None = None
    received: int = attrs.field(default=0, init=False)  # bytes that have arrived
    total: int | None = attrs.field(default=None, init=False)  # bytes that it has by its server, if known
    _source: Offer | None = attrs.field(default=None, init=False)  # the response that sent the first byte
    _takes_parts: bool = attrs.field(default=True, init=False)
    _skip: int = attrs.field(default=0, init=False)
    _ends_at: int | None = attrs.field(default=None, init=False)  # where the present body ends, by its head
    _surplus: int = attrs.field(default=0, init=False)  # bytes after that

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest where that is safe, else for the whole file."""
        if self._validator is None:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self._validator}

    def begin(self, offer: Offer) -> Receive | Failure:
        """Decide what to do with a response whose head has arrived."""
        asked_for_rest = self._validator is not None
        self._skip = self._surplus = 0
        if offer.status in LATE:
            return Late(f"HTTP {offer.status}", offer.retry_after)
        if asked_for_rest and offer.status == PARTIAL_CONTENT and self._is_the_rest(offer):
            receive = Receive()
        elif asked_for_rest and not (offer.status == OK and self._is_the_whole(offer)):
            self._takes_parts = False
            return Broken(f"HTTP {offer.status}, which is not the rest that was asked for")
        elif offer.status != OK:
            check = REMEDIES.get(offer.status, "check that the URL is complete and the file not deleted")
            return Refused(f"answered HTTP {offer.status}; {check}")
        elif offer.is_part:
            return Wrong("the server sent a part of it, which nobody asked for")
        elif self._contradicts_source(offer):
            return Wrong(
                f"it had {self.total} bytes and now has {offer.length}, and nothing shows that it was replaced"
            )
        else:
            # Some servers answer a range with the whole file. With the same strong ETag its beginning is known.
            if self.received and offer.etag is not None and self._is_same_file(offer):
                self._skip = self.received
            else:
                self.received = 0
            if offer.length is not None or self._is_another_file(offer):
                self.total = offer.length
            self._source, self._ends_at = offer, self.total
            receive = Receive(starts_over=not self._skip)
        refused, wrong = self.too_large, None if self.total is None else self._contradiction
        if wrong is not None:  # so nothing else of this response is believed
            self.total = self._source = None
        return refused or wrong or receive

    def take(self, chunk: bytes) -> bytes:
        """Count a piece of the body, and return what is new of it."""
        if self._skip:
            known = min(self._skip, len(chunk))
            self._skip -= known
            chunk = chunk[known:]
        if self._ends_at is not None and len(chunk) > self._ends_at - self.received:
            self._surplus += len(chunk) - (self._ends_at - self.received)
            chunk = chunk[: self._ends_at - self.received]
        self.received += len(chunk)
        return chunk

    def end(self) -> Complete | Failure:
        """Decide what a body that has ended, or was left because it is too large, has brought."""
        if self._surplus:  # its head was wrong, and so may be everything that it brought
            gave, self.received, self._source = self.received + self._surplus, 0, None
            return Wrong(f"it should have {self._ends_at} bytes but gave {gave}")
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
        if len(totals) != 1 or first != self.received or offer.length not in (None, last - first + 1):
            return False
        (known_total,) = totals
        if last >= known_total:
            return False
        self.total, self._ends_at = known_total, last + 1
        return True

    def _is_the_whole(self, offer: Offer) -> bool:
        """Whether the answer to a request for the rest is the whole file: some servers send the rest with a 200."""
        known_total = self.total or self.size
        return not offer.is_part and offer.length is not None and offer.length == known_total

    def _contradicts_source(self, offer: Offer) -> bool:
        return (
            None not in (offer.length, self.total) and offer.length != self.total and not self._is_another_file(offer)
        )

    def _is_another_file(self, offer: Offer) -> bool:
        """Whether the response shows that the file was replaced since the first byte came."""
        source = self._source
        if source is None:
            return False
        tags = [tag.removeprefix("W/") for tag in (offer.tag, source.tag)]
        times = (offer.modified, source.modified)
        return ("" not in tags and tags[0] != tags[1]) or (None not in times and times[0] != times[1])

    def _is_same_file(self, offer: Offer) -> bool:
        # Not every server honours If-Range, so the response itself must show it (RFC 9110, 15.3.7).
        source = self._source
        if source is None or offer.tag != source.tag:
            return False
        if offer.etag is None:
            return offer.modified is not None and offer.modified == source.modified
        return None in (offer.modified, source.modified) or offer.modified == source.modified
