"""Pages that are not the service's: what they prove, and how they are shown."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._errors import DecodingError
from wiro_async._protocol.http.foreign_pages import describe_body, looks_like_html, refusal_of
from wiro_async._protocol.http.responses import parse_envelope

URL = "https://api.wiro.ai/v1/Run/owner/model"
HTML = {"content-type": "text/html"}


@pytest.mark.parametrize(
    "status, location, is_refusal",
    [
        *((status, None, True) for status in (400, 401, 403, 404, 405, 407, 411, 413, 414, 415, 421, 431, 451, 511)),
        *((status, None, False) for status in (100, 200, 201, 204, 408, 409, 425, 499, 500, 502, 503, 504, 520, 530)),
        *((status, None, False) for status in (300, 301, 302, 303, 304, 307, 308)),
        (301, "https://api.wiro.ai/v1/run/owner/model", True),
        (307, "/elsewhere", True),
        (308, "elsewhere", True),
        (302, "https://login.example/", True),
        (302, "//login.example/", True),
        (307, "https://[", True),
        (303, "https://login.example/", True),
        (302, "https://api.wiro.ai:443/tasks/1", False),
        (303, "https://[", False),
        (302, "/tasks/1", False),
        (303, "https://api.wiro.ai/tasks/1", False),
        (303, "?task=1", False),
        (304, "https://login.example/", False),
    ],
)
@pytest.mark.parametrize("body", [b"<html></html>", b"", b"no", b"[]", b'{"a":1}'])
def test_what_proves_that_nothing_was_run(status: int, location: str | None, is_refusal: bool, body: bytes) -> None:
    """The status and the target of a redirect, whatever the body is."""
    headers = {} if location is None else {"location": location}
    assert (refusal_of(status, headers, URL) is not None) == is_refusal
    if body.startswith(b"{") and not (300 <= status < 400 and is_refusal):
        return  # an answer of the service
    if status != 429:
        with pytest.raises(DecodingError) as caught:
            parse_envelope(status, headers, body, 0.0, (), URL)
        assert (caught.value.refused, caught.value.http_status) == (is_refusal, status)
        assert ("nothing was run" in str(caught.value)) == is_refusal


@pytest.mark.parametrize(
    "body, headers, shown",
    [
        (b"", {}, "an empty body"),
        (b"<html><title>A &lt;b&gt;\n  c</title>", {}, "an HTML page ('A <b> c')"),
        (b"\xef\xbb\xbf <!-- x --><!DOCTYPE HTML><TITLE lang=en>A</TITLE>", {}, "an HTML page ('A')"),
        (b'<?xml version="1.0"?><html><body>No <b>title</b></body>', {}, "an HTML page ('No title')"),
        (b"<h1>Forbidden</h1>", HTML, "an HTML page ('Forbidden')"),
        (b"<h1>Forbidden</h1>", {}, "'<h1>Forbidden</h1>'"),
        (b"<html><script>let a = 1</script><style>b{}</style></html>", {}, "an HTML page"),
        (b"<html><title>" + b"x" * 500 + b"</title>", {}, f"an HTML page ('{'x' * 80}')"),
        (b"<html><title>\x1b[31mred\x00</title>", {}, "an HTML page ('[31mred')"),
        (b"<html><title>the s3cretkey</title>", {}, "an HTML page ('the …')"),
        (b"caf\xe9", HTML, "'caf\ufffd'"),
        (b'{"a"', HTML, "4 bytes of broken or unknown JSON"),
    ],
)
def test_how_a_body_is_shown(body: bytes, headers: dict[str, str], shown: str) -> None:
    """In one line, without secrets."""
    assert describe_body(headers, body, ["s3cretkey"]) == shown


@given(st.binary(), st.sampled_from([{}, HTML]))
def test_any_body_is_one_short_line(body: bytes, headers: dict[str, str]) -> None:
    """Without control characters."""
    shown = describe_body(headers, body)
    assert shown.isprintable()
    assert len(shown) < 1000


@pytest.mark.parametrize("body", [b"<htmlx>", b"x<html>", b"<svg>", b"", b"\x89PNG", b"<!-- <html>"])
def test_what_is_no_page(body: bytes) -> None:
    """Neither pictures nor texts that only name it."""
    assert not looks_like_html(body)


@pytest.mark.parametrize(
    "piece",
    [b"<!---->", b"<!--", b"<title>", b"<script>", b"<head><!--", b"<?xml?>", b"<", b" ", b"</title", b"<html>"],
)
@pytest.mark.parametrize("beginning", [b"", b"<html>"])
def test_pages_that_take_long_to_read(piece: bytes, beginning: bytes) -> None:
    """Patterns that try every way would hold up the event loop."""
    start = time.perf_counter()
    describe_body(HTML, beginning + piece * 100_000)
    assert time.perf_counter() - start < 0.5
