"""Which bytes are requested, which response may continue a file, and what a body has added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ({}, False),  # it may have been replaced: nothing shows that the server understood the condition
        ({"last_modified": OLD}, True),
        ({"last_modified": NOW}, False),
        ({"etag": ETAG}, False),
        ({"last_modified": OLD, "etag": ETAG}, False),
        ({"last_modified": OLD, "etag": f"W/{ETAG}"}, False),
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
    assert other.begin(whole(content_length="100", etag='"v2"')) == Receive(starts_over=True)
    assert (other.received, other.total) == (0, 100)


@pytest.mark.parametrize(
    "headers",
    [
        {"content_length": "60", "etag": ETAG, "content_range": "bytes 40-99/100"},
        {"content_length": "60", "etag": ETAG},
        {"content_length": "60", "last_modified": OLD},
        {"content_length": "60"},
        {"content_length": "100", "etag": ETAG, "content_range": "bytes 40-99/100"},
        {"content_length": "100", "etag": ETAG, "content_range": "bytes what"},
        {"content_length": "60", "etag": f"W/{ETAG}"},
        {"content_length": "50", "etag": '"v2"'},
        {"content_encoding": "gzip", "content_length": "100", "etag": ETAG},
        {"etag": ETAG},
        {},
    ],
    ids=str,
)
def test_a_200_that_may_be_the_rest(headers: dict[str, str]) -> None:
    """A request for the rest is answered with a 200 of another length: the whole file is requested."""
    transfer = broken()
    assert transfer.begin(whole(**headers)) == Broken("HTTP 200, which is not the rest that was asked for")
    assert transfer.request_headers() == {}
    assert transfer.begin(whole(content_length="50", etag='"v2"')) == Receive(starts_over=True)
    assert (transfer.received, transfer.total) == (0, 50)


@pytest.mark.parametrize("headers", [{"etag": ETAG}, {}, {"last_modified": OLD}], ids=str)
def test_one_version_of_two_sizes(headers: dict[str, str]) -> None:
    """One of the two responses is wrong, and nobody knows which."""
    transfer = broken()
    transfer.begin(part())
    assert transfer.begin(whole(content_length="60", **headers)) == Wrong(
        "it had 100 bytes and now has 60, and nothing shows that it was replaced"
    )
    assert transfer.begin(whole(**headers)) == Receive(starts_over="etag" not in headers)
    transfer.take(b"x" * 60)
    assert isinstance(transfer.end(), Broken)


@pytest.mark.parametrize("span", ["bytes 40-99/100", "bytes 0-59/100", "bytes 0-99/*", "bytes */100", "what"])
def test_a_part_as_the_answer_to_a_request_for_the_whole(span: str) -> None:
    """It is not taken for the file."""
    assert isinstance(Transfer().begin(whole(content_length="60", content_range=span)), Wrong)
    assert isinstance(Transfer().begin(whole(content_range=span)), Wrong)


def test_the_whole_file_as_a_range() -> None:
    """Some servers say it with every response."""
    begun = Transfer().begin(whole(content_length="100", content_range="bytes 0-99/100"))
    assert begun == Receive(starts_over=True)


def test_several_parts_in_one_body() -> None:
    """They are not bytes of the file alone."""
    headers = {"content_type": "multipart/byteranges; boundary=x", "content_range": "bytes 40-99/100", "etag": ETAG}
    assert isinstance(broken().begin(part(**headers)), Broken)


def test_more_than_the_part() -> None:
    """Nothing says where the surplus belongs, so the file is requested again."""
    transfer = broken()
    assert transfer.begin(part(content_range="bytes 40-69/100", etag=ETAG)) == Receive()
    assert transfer.take(b"y" * 60) == b"y" * 30
    assert transfer.end() == Wrong("it should have 70 bytes but gave 100")
    assert (transfer.received, transfer.request_headers()) == (0, {})


def test_a_size_that_is_not_known_yet() -> None:
    """The service writes 0 for what it has not measured."""
    transfer = Transfer(size=0)
    assert transfer.begin(whole(content_length="100")) == Receive(starts_over=True)


TRUE, OTHER = bytes(range(100)), bytes(range(100, 200))
LIES = st.tuples(
    st.sampled_from([200, 200, 206, 206, 206, 416, 404, 302]),
    st.sampled_from([ETAG, ETAG, ETAG, '"v2"', f"W/{ETAG}", ""]),
    st.sampled_from(["right", "right", "none", "star", "other total", "shifted", "broken"]),
    st.booleans(),  # whether there is a Content-Length
    st.integers(0, 100),  # where the body begins, by the file
    st.integers(0, 100),  # where it ends
    st.integers(0, 100),  # after how many bytes it breaks off
    st.booleans(),  # whether the range is that of the request
)


@given(st.lists(LIES, max_size=8), st.sampled_from([ETAG, ""]), st.sampled_from([None, 100]), st.integers(1, 99))
def test_a_server_that_lies(
    lies: list[tuple[int, str, str, bool, int, int, int, bool]], etag: str, size: int | None, first_cut: int
) -> None:
    """The file is whole, or there is none. Bytes of two versions never meet."""
    transfer, data = Transfer(size), bytearray()
    script = iter([None, *lies])
    for lie in script:
        headers = transfer.request_headers()
        if lie is None or not headers:  # only a request for a part is lied to: else no client could know
            version = TRUE if lie is None or lie[0] != 206 else OTHER
            tag = etag if version == TRUE else '"v2"' if etag else ""
            offer, body = whole(content_length="100", etag=tag), version
            body = body[: first_cut if lie is None else lie[6]]
        else:
            status, tag, span, has_length, start, end, cut, is_requested = lie
            start = transfer.received if is_requested else start
            body = (TRUE if tag == etag else OTHER)[start : max(start, end)]
            spans = {
                "right": f"bytes {start}-{start + len(body) - 1}/100",
                "star": f"bytes {start}-{start + len(body) - 1}/*",
                "other total": f"bytes {start}-{start + len(body) - 1}/{start + len(body)}",
                "shifted": f"bytes {start + 1}-{start + len(body)}/100",
                "broken": "bytes what",
            }
            fields = {"etag": tag, **({"content-range": spans[span]} if span in spans else {})}
            if has_length:
                fields["content-length"] = str(len(body))
            offer, body = Offer.of(status, {name: value for name, value in fields.items() if value}), body[:cut]
            if status == 206 and span == "shifted" and start + 1 == transfer.received:
                continue  # a body that is not what its own head says: only a checksum could tell
        begun = transfer.begin(offer)
        if not isinstance(begun, Receive):
            if isinstance(begun, Refused):
                return
            continue
        if begun.starts_over:
            data.clear()
        data += transfer.take(body)
        ended = transfer.end()
        if isinstance(ended, Complete):
            assert bytes(data) in (TRUE, OTHER)
            return


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
