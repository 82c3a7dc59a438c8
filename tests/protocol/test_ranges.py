"""Going on with a broken download: when it is safe, and when it is not."""

from __future__ import annotations

import pytest

from wiro_async._protocol.files.byte_ranges import Offer, Start, Transfer

ETAG = '"v1"'
OLD, NOW = "Mon, 01 Jun 2026 10:00:00 GMT", "Mon, 01 Jun 2026 12:00:00 GMT"


def whole(**headers: str) -> Offer:
    """A 200."""
    return Offer.of(200, {name.replace("_", "-"): value for name, value in headers.items()})


def part(**headers: str) -> Offer:
    """A 206."""
    return Offer.of(206, {name.replace("_", "-"): value for name, value in headers.items()})


def broken(received: int = 40, total: int | None = 100, size: int | None = None, etag: str = ETAG) -> Transfer:
    """A transfer that broke off."""
    transfer = Transfer(size)
    length = {} if total is None else {"content_length": str(total)}
    assert transfer.begin(whole(**length, etag=etag, last_modified=OLD)) == Start(anew=True)
    transfer.take(b"x" * received)
    return transfer


def test_the_first_request_asks_for_all() -> None:
    """Nothing to go on from."""
    assert Transfer().headers() == {}


def test_the_rest_is_asked_for_with_a_condition() -> None:
    """The server is to send the rest only of the same file."""
    assert broken().headers() == {"Range": "bytes=40-", "If-Range": ETAG}


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", '"a b"', ""])
def test_without_a_strong_etag_it_starts_over(etag: str) -> None:
    """A weak one does not promise the same bytes (RFC 9110, 13.1.5)."""
    assert broken(etag=etag).headers() == {}


@pytest.mark.parametrize(
    "date, modified, condition",
    [(NOW, OLD, OLD), (OLD, OLD, None), ("", OLD, None), (NOW, "yesterday", None), (NOW, "", None)],
)
def test_a_date_instead_of_an_etag(date: str, modified: str, condition: str | None) -> None:
    """It serves if the file was old when it was sent (RFC 9110, 8.8.2.2)."""
    transfer = Transfer()
    transfer.begin(whole(content_length="100", date=date, last_modified=modified))
    transfer.take(b"x")
    assert transfer.headers().get("If-Range") == condition


def test_a_fitting_part_goes_on() -> None:
    """Nothing is void, nothing skipped."""
    transfer = broken()
    assert transfer.begin(part(content_range="bytes 40-99/100", content_length="60", etag=ETAG)) == Start()
    assert transfer.take(b"y" * 60) == b"y" * 60
    assert (transfer.received, transfer.is_short, transfer.problem) == (100, False, None)


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
    """It is not used, and parts are not asked for again."""
    transfer = broken()
    assert transfer.begin(part(**headers)) is None
    assert transfer.headers() == {}


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
    """A server that does not know If-Range sends the rest of a newer file all the same."""
    transfer = Transfer()
    transfer.begin(whole(content_length="100", date=NOW, last_modified=OLD))
    transfer.take(b"x" * 40)
    assert (transfer.begin(part(content_range="bytes 40-99/100", **headers)) is not None) is fits


def test_less_than_the_rest_is_fine() -> None:
    """A server may send less than it was asked for; then the rest of it is still to come."""
    transfer = broken()
    assert transfer.begin(part(content_range="bytes 40-69/100", etag=ETAG)) == Start()
    transfer.take(b"y" * 30)
    assert transfer.is_short
    assert transfer.headers()["Range"] == "bytes=70-"


@pytest.mark.parametrize("size, fits", [(None, False), (100, True)])
def test_a_part_of_unknown_length(size: int | None, fits: bool) -> None:
    """Only where the file's size is known can it be seen to be the rest."""
    transfer = broken(total=None, size=size)
    assert (transfer.begin(part(content_range="bytes 40-99/*", etag=ETAG)) is not None) is fits


def test_all_of_it_again() -> None:
    """The same file: what is known is skipped. Another: what came is void."""
    transfer = broken()
    assert transfer.begin(whole(content_length="100", etag=ETAG)) == Start(skip=40)
    assert transfer.take(b"x" * 30) == b""
    shorts = [transfer.is_short]
    assert transfer.take(b"x" * 10 + b"y" * 60) == b"y" * 60
    assert [*shorts, transfer.is_short] == [True, False]
    other = broken()
    assert other.begin(whole(content_length="50", etag='"v2"')) == Start(anew=True)
    assert (other.received, other.total) == (0, 50)


def test_nothing_left_to_give() -> None:
    """416: ask for all of it."""
    transfer = broken(100, total=None)
    assert transfer.begin(Offer.of(416, {"content-range": "bytes */100"})) is None
    assert transfer.headers() == {}


def test_a_part_that_nobody_asked_for() -> None:
    """Is none."""
    assert Transfer().begin(part(content_range="bytes 0-99/100")) is None


@pytest.mark.parametrize(
    "size, total, received, problem",
    [
        (100, 100, 100, None),
        (None, None, 7, None),
        (100, None, 100, None),
        (100, 99, 0, "should have 100 bytes but has 99"),
        (100, None, 99, "should have 100 bytes but has 99"),
        (None, 100, 101, "should have 100 bytes but gave 101"),
    ],
)
def test_sizes_are_held_to(size: int | None, total: int | None, received: int, problem: str | None) -> None:
    """The record's size and the server's."""
    transfer = Transfer(size, total, received)
    assert transfer.problem is None if problem is None else problem in (transfer.problem or "")


def test_an_encoded_body_promises_nothing() -> None:
    """Its length is not the file's."""
    offer = Offer.of(200, {"content-encoding": "gzip", "content-length": "5", "etag": ETAG})
    assert (offer.length, offer.validator) == (None, None)
    assert Offer.of(200, {"content-encoding": "identity", "content-length": "5"}).length == 5
    assert Offer.of(200, {"content-length": "five"}).length is None


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "-1", "1e3", " "])
def test_numbers_that_are_none(number: str) -> None:
    """A server may tell what it likes: no answer's head is an error of ours."""
    assert whole(content_length=number).length is None
    assert part(content_range=f"bytes 0-{number}/{number}").span is None
