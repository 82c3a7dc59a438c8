"""Which bytes are requested, which response may continue a file, and what a body has added."""

from __future__ import annotations

import pytest

from wiro_async._errors import ConnectionFailedError
from wiro_async._protocol.files.byte_ranges import Offer
from wiro_async._protocol.files.transfer import (
    LATE,
    Broken,
    Complete,
    Failure,
    Late,
    Receive,
    Refused,
    Transfer,
    Wrong,
    transport_failure,
)

ETAG = '"v1"'
OLD, NOW = "Mon, 01 Jun 2026 10:00:00 GMT", "Mon, 01 Jun 2026 12:00:00 GMT"


def whole(**headers: str) -> Offer:
    """A 200."""
    return Offer.of(200, {name.replace("_", "-"): value for name, value in headers.items()})


def part(**headers: str) -> Offer:
    """A 206."""
    return Offer.of(206, {name.replace("_", "-"): value for name, value in headers.items()})


def broken(received: int = 40, total: int | None = 100, size: int | None = None, etag: str = ETAG) -> Transfer:
    """A transfer whose first response broke off."""
    transfer = Transfer(size)
    length = {} if total is None else {"content_length": str(total)}
    assert transfer.begin(whole(**length, etag=etag, last_modified=OLD)) == Receive(starts_over=True)
    transfer.take(b"x" * received)
    return transfer


def test_the_first_request_asks_for_the_whole_file() -> None:
    """There is nothing to resume."""
    assert Transfer().request_headers() == {}


def test_the_rest_is_requested_with_a_condition() -> None:
    """The server sends the rest only if the file is unchanged."""
    assert broken().request_headers() == {"Range": "bytes=40-", "If-Range": ETAG}


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", '"a b"', ""])
def test_without_a_strong_etag_it_starts_over(etag: str) -> None:
    """A weak one does not guarantee equal bytes (RFC 9110, 13.1.5)."""
    assert broken(etag=etag).request_headers() == {}


@pytest.mark.parametrize(
    "date, modified, condition",
    [(NOW, OLD, OLD), (OLD, OLD, None), ("", OLD, None), (NOW, "yesterday", None), (NOW, "", None)],
)
def test_a_date_instead_of_an_etag(date: str, modified: str, condition: str | None) -> None:
    """It is used if the file was older than the response (RFC 9110, 8.8.2.2)."""
    transfer = Transfer()
    transfer.begin(whole(content_length="100", date=date, last_modified=modified))
    transfer.take(b"x")
    assert transfer.request_headers().get("If-Range") == condition


def test_a_fitting_part() -> None:
    """It is appended."""
    transfer = broken()
    assert transfer.begin(part(content_range="bytes 40-99/100", content_length="60", etag=ETAG)) == Receive()
    assert transfer.take(b"y" * 60) == b"y" * 60
    assert (transfer.received, transfer.end()) == (100, Complete())


@pytest.mark.parametrize(
    "headers",
    [
        {"content_range": "bytes 39-99/100", "etag": ETAG},
        {"content_range": "bytes 41-99/100", "etag": ETAG},
        {"content_range": "bytes 40-100/101", "etag": ETAG},
        {"content_range": "bytes 40-120/100", "etag": ETAG},
        {"content_range": "bytes 40-39/100", "etag": ETAG},
        {"content_range": "bytes 40-99/100", "content_length": "59", "etag": ETAG},
        {"content_range": "bytes 40-99/100", "etag": '"v2"'},
        {"content_range": "bytes 40-99/100"},
        {"content_range": "bytes 40-99/100", "etag": f"W/{ETAG}"},
        {"content_range": "bytes 40-99/100", "etag": ETAG, "last_modified": NOW},
        {"content_range": "lines 40-99/100", "etag": ETAG},
        {"content_range": "bytes */100", "etag": ETAG},
        {"content_range": "bytes 40-99/100", "content_encoding": "gzip", "etag": ETAG},
        {},
    ],
    ids=str,
)
def test_a_part_that_does_not_fit(headers: dict[str, str]) -> None:
    """It is not used, and the next request asks for the whole file."""
    transfer = broken()
    assert transfer.begin(part(**headers)) == Broken("HTTP 206, which is not the rest that was asked for")
    assert transfer.request_headers() == {}


@pytest.mark.parametrize(
    "headers, fits",
    [
        ({}, True),
        ({"last_modified": OLD}, True),
        ({"last_modified": NOW}, False),
        ({"etag": ETAG}, False),
        ({"last_modified": OLD, "etag": ETAG}, False),
    ],
    ids=str,
)
def test_a_part_by_its_date(headers: dict[str, str], fits: bool) -> None:
    """A server that ignores If-Range sends the rest of a newer file."""
    transfer = Transfer()
    transfer.begin(whole(content_length="100", date=NOW, last_modified=OLD))
    transfer.take(b"x" * 40)
    assert (transfer.begin(part(content_range="bytes 40-99/100", **headers)) == Receive()) is fits


def test_less_than_the_rest_is_fine() -> None:
    """A server may send less than requested. The next request asks for the remaining bytes."""
    transfer = broken()
    assert transfer.begin(part(content_range="bytes 40-69/100", etag=ETAG)) == Receive()
    transfer.take(b"y" * 30)
    assert transfer.end() == Broken("it ended after 70 of 100 bytes")
    assert transfer.request_headers()["Range"] == "bytes=70-"


@pytest.mark.parametrize("size, fits", [(None, False), (100, True)])
def test_a_part_of_unknown_length(size: int | None, fits: bool) -> None:
    """It is the rest only if the size of the file is known."""
    transfer = broken(total=None, size=size)
    assert (transfer.begin(part(content_range="bytes 40-99/*", etag=ETAG)) == Receive()) is fits


def test_the_whole_file_again() -> None:
    """Of the same file, known bytes are skipped. Another file starts over."""
    transfer = broken()
    assert transfer.begin(whole(content_length="100", etag=ETAG)) == Receive()
    assert transfer.take(b"x" * 30) == b""
    assert isinstance(transfer.end(), Broken)
    assert transfer.take(b"x" * 10 + b"y" * 60) == b"y" * 60
    assert transfer.end() == Complete()
    other = broken()
    assert other.begin(whole(content_length="50", etag='"v2"')) == Receive(starts_over=True)
    assert (other.received, other.total) == (0, 50)


def test_a_range_beyond_the_end() -> None:
    """After a 416, the whole file is requested."""
    transfer = broken(100, total=None)
    assert isinstance(transfer.begin(Offer.of(416, {"content-range": "bytes */100"})), Broken)
    assert transfer.request_headers() == {}


def test_a_part_that_was_not_requested() -> None:
    """It is refused, even if it is the whole file."""
    assert isinstance(Transfer().begin(part(content_range="bytes 0-99/100")), Refused)


@pytest.mark.parametrize(
    "size, cap, total, received, outcome",
    [
        # All sizes agree, as far as they are known.
        (100, None, 100, 100, Complete()),
        (None, None, 100, 100, Complete()),
        (100, None, None, 100, Complete()),
        (None, None, None, 7, Complete()),
        (None, None, 0, 0, Complete()),
        (100, 100, 100, 100, Complete()),
        (None, 100, None, 100, Complete()),
        # The server contradicts the record in its head, by the length of its body, or itself.
        (100, None, 99, 0, Wrong("it should have 100 bytes but has 99")),
        (100, None, None, 99, Wrong("it should have 100 bytes but has 99")),
        (100, None, None, 101, Wrong("it should have 100 bytes but has 101")),
        (None, None, 100, 101, Wrong("it should have 100 bytes but gave 101")),
        # The body ends before the length of its head.
        (None, None, 100, 99, Broken("it ended after 99 of 100 bytes")),
        (100, None, 100, 0, Broken("it ended after 0 of 100 bytes")),
        # There is more than the caller allows: by the record, by the head, or by what has arrived.
        (100, 99, None, 0, Refused("has 100 bytes, more than the 99 allowed; raise max_bytes to have it")),
        (None, 99, 100, 0, Refused("has at least 100 bytes, more than the 99 allowed; raise max_bytes to have it")),
        (None, 99, None, 100, Refused("has at least 100 bytes, more than the 99 allowed; raise max_bytes to have it")),
        (100, 100, 101, 0, Refused("has at least 101 bytes, more than the 100 allowed; raise max_bytes to have it")),
    ],
)
def test_what_a_response_brings(
    size: int | None, cap: int | None, total: int | None, received: int, outcome: Complete | Failure
) -> None:
    """The size by the record, by the server and by the body must agree, and stay within the cap."""
    transfer = Transfer(size, cap)
    begun = transfer.begin(whole() if total is None else whole(content_length=str(total)))
    if begun == Receive(starts_over=True):
        transfer.take(b"x" * received)
        assert transfer.end() == outcome
    else:
        assert begun == outcome


@pytest.mark.parametrize("status", [404, 408, 425, 429, 500, 502, 503, 504, 520])
@pytest.mark.parametrize("received", [0, 40])
def test_a_file_that_is_late(status: int, received: int) -> None:
    """The request is repeated, even one for a part."""
    transfer = broken(received)
    before = transfer.request_headers()
    assert transfer.begin(Offer.of(status, {"retry-after": "7"})) == Late(f"HTTP {status}", 7.0)
    assert transfer.request_headers() == before
    assert status in LATE


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 410, 416])
def test_a_file_that_is_refused(status: int) -> None:
    """Another attempt would fail too. For a part, the whole file is requested instead."""
    outcome = Transfer().begin(Offer.of(status, {}))
    assert isinstance(outcome, Refused)
    assert outcome.problem.startswith(f"answered HTTP {status}")
    transfer = broken()
    assert transfer.begin(Offer.of(status, {})) == Broken(f"HTTP {status}, which is not the rest that was asked for")
    assert transfer.request_headers() == {}


def test_a_connection_that_fails() -> None:
    """It is worth another attempt, unless the next one would fail alike."""
    assert transport_failure(ConnectionFailedError("reset")) == Broken("reset")
    assert transport_failure(ConnectionFailedError("no proxy", permanent=True)) == Refused(
        "cannot be fetched: no proxy"
    )


def test_an_encoded_body() -> None:
    """It says nothing about the size of the file."""
    offer = Offer.of(200, {"content-encoding": "gzip", "content-length": "5", "etag": ETAG})
    assert (offer.length, offer.validator) == (None, None)
    assert Offer.of(200, {"content-encoding": "identity", "content-length": "5"}).length == 5
    assert Offer.of(200, {"content-length": "five"}).length is None


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "-1", "1e3", " "])
def test_invalid_numbers(number: str) -> None:
    """No header of a server raises an error."""
    assert whole(content_length=number).length is None
    assert part(content_range=f"bytes 0-{number}/{number}").span is None
