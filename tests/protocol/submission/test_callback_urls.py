"""Callbacks: URLs that are valid until they expire, and the task ids in any body."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async import ConfigurationError
from wiro_async._protocol.submission.callback_urls import TaskIds, ids_in, segment, segment_of, url_below, verdict
from wiro_async._protocol.submission.intent import with_intent

SECRET, OTHER = b"a secret of 16+ bytes", b"another secret, no less"
NONCE = bytes(range(16))
NOW = 1_800_000_000.0
BOTH = TaskIds("2221", "eDcC.t:o-k_en")
TASK = {"id": "2221", "socketaccesstoken": "eDcC.t:o-k_en", "status": "task_postprocess_end"}
MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="taskid"\r\n\r\n2221\r\n'
    b'--B\r\nContent-Disposition: form-data; name="socketaccesstoken"\r\n\r\neDcC.t:o-k_en\r\n--B--\r\n'
)


def test_a_url_is_valid_until_it_expires() -> None:
    """To the second, and only with its secret."""
    path = segment(SECRET, NONCE, NOW + 60)
    assert verdict([SECRET], path, NOW + 60) == "good"
    assert verdict([OTHER, SECRET], path, NOW) == "good"
    assert verdict([SECRET], path, NOW + 61) == "expired"
    assert verdict([OTHER], path, NOW) == "forged"
    assert verdict([], path, NOW) == "forged"
    assert path != segment(SECRET, bytes(16), NOW + 60)


@given(st.data())
def test_no_character_of_it_can_be_changed(data: st.DataObject) -> None:
    """Neither of the nonce, nor of the time, nor of the signature."""
    path = segment(SECRET, NONCE, NOW + 60)
    place = data.draw(st.integers(0, len(path) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda new: new != path[place]))
    changed = path[:place] + character + path[place + 1 :]
    assert verdict([SECRET], changed, NOW) == "forged"


@given(st.text(max_size=200))
def test_anything_else_is_forged(path: str) -> None:
    """Any other path."""
    assert verdict([SECRET], path, NOW) == "forged"


def test_where_the_segment_is_added() -> None:
    """Below the base URL, before its query. The intent id does not affect it."""
    assert url_below("https://my.app/wiro/", "x.y") == "https://my.app/wiro/x.y"
    assert url_below("https://my.app", "x.y") == "https://my.app/x.y"
    url = with_intent(url_below("http://my.app:8000/hooks?tenant=7", "x.y"), "1234")
    assert url == "http://my.app:8000/hooks/x.y?tenant=7&wiro_intent=1234"
    assert segment_of(url) == segment_of("/hooks/x.y/") == segment_of("/x.y") == segment_of("//[/x.y") == "x.y"


@pytest.mark.parametrize("base", ["", "my.app/wiro", "ftp://my.app", "https://", "https://[", "https://my.app/#x"])
def test_invalid_bases(base: str) -> None:
    """The service could not call them."""
    with pytest.raises(ConfigurationError, match="base is not a URL"):
        url_below(base, "x")


def test_a_base_is_not_shown() -> None:
    """It may contain a secret."""
    for base in ("ftp://me:pa55word@x/SECRET", "my.app/wiro?key=SECRET", "https://x/#SECRET"):
        with pytest.raises(ConfigurationError) as caught:
            url_below(base, "x")
        assert "pa55word" not in f"{caught.value!r} {caught.value.args}"
        assert "SECRET" not in f"{caught.value!r} {caught.value.args}"


@pytest.mark.parametrize(
    "body",
    [
        {"result": True, "errors": [], "total": "1", "tasklist": [TASK]},
        TASK,
        {"data": TASK},
        {"data": {"tasklist": [TASK]}},
        {"data": json.dumps(TASK)},
        [TASK],
        {"taskid": 2221, "tasktoken": "eDcC.t:o-k_en"},
        {"taskId": "2221", "socketAccessToken": "eDcC.t:o-k_en"},
        {"task_id": " 2221 ", "token": "eDcC.t:o-k_en", "outputs": [{"id": "6bc3"}]},
        json.dumps(TASK),
    ],
    ids=str,
)
def test_json_bodies(body: object) -> None:
    """A Task/Detail envelope, a task, a task in `data`, or ids alone."""
    assert ids_in(json.dumps(body).encode(), "application/json") == [BOTH]
    assert ids_in(b"\xef\xbb\xbf" + json.dumps(body).encode(), "") == [BOTH]


@pytest.mark.parametrize(
    "body, kind, expected",
    [
        (urlencode({"taskid": "2221", "socketaccesstoken": "eDcC.t:o-k_en"}).encode(), "form", [BOTH]),
        (urlencode({"payload": json.dumps(TASK)}).encode(), "form", [BOTH]),
        (MULTIPART, 'multipart/form-data; boundary="B"', [BOTH]),
        (b"tasklist[0][id]=2221&tasklist[0][socketaccesstoken]=eDcC.t:o-k_en", "form", [BOTH]),
        (b"x[id]=1&x[id]=2", "form", [TaskIds("2", None)]),
        (b"x=1&x[id]=2", "form", []),
        (b"&".join(b"a%d=1" % number for number in range(500)) + b"&taskid=2221", "form", [TaskIds("2221", None)]),
        (b"x=1" + b"&" * 100_000, "form", []),
        (b"2221", "text/plain", [TaskIds("2221", None)]),
        (b'"2221"', "application/json", [TaskIds("2221", None)]),
        (b" eDcC.t:o-k_en\n", "text/plain", [TaskIds(None, "eDcC.t:o-k_en")]),
        (b'{"id": "6bc3-no-number"}', "", []),
        (b'{"token": "has spaces in it"}', "", []),
        (b"", "", []),
        (b"true", "", []),
        (b"null", "", []),
        (b"no token, but words", "", []),
        (b"{broken", "application/json", []),
        (b"\xff\xfe\x00", "", []),
        (b"--B", "multipart/form-data; boundary=B\r\nEvil: 1", []),
        (b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"taskid":"1"}}}}}}}}', "", []),
    ],
)
def test_other_bodies(body: bytes, kind: str, expected: list[TaskIds]) -> None:
    """Forms, text, and bodies without ids."""
    kind = "application/x-www-form-urlencoded" if kind == "form" else kind
    assert ids_in(body, kind) == expected


NESTED = b"".join(
    b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (level, level + 1) for level in range(12_000)
)


@pytest.mark.parametrize(
    "body, kind",
    [
        (NESTED, "multipart/form-data; boundary=b0"),
        (b"--B\r\n\r\n" * 120_000, "multipart/form-data; boundary=B"),
        (b"--B\r\n" + b"A: b\r\n" * 170_000, "multipart/form-data; boundary=B"),
        (json.dumps({str(number): {"a": "{" + "x" * 10} for number in range(25_000)}).encode(), ""),
        (json.dumps([[["x"] * 16] * 16] * 4000).encode()[:1_000_000], ""),
        (b'{"a":' * 200_000, ""),
        (b"[" * 1_000_000, ""),
    ],
    ids=["nested", "parts", "heads", "objects", "lists", "deep", "deeper"],
)
def test_a_large_body(body: bytes, kind: str) -> None:
    """Only its beginning is read."""
    began = time.process_time()
    assert ids_in(body, kind) == []
    assert time.process_time() - began < 2


def test_several_tasks() -> None:
    """Each once, up to a limit."""
    many = [{"taskid": str(number % 20)} for number in range(100)]
    assert ids_in(json.dumps([TASK, TASK]).encode(), "") == [BOTH]
    assert len(ids_in(json.dumps([many, many]).encode(), "")) <= 16
    assert "eDcC" not in repr(BOTH)


@given(st.binary(max_size=400), st.sampled_from(["", "application/json", "multipart/form-data; boundary=x", "text/x"]))
def test_any_body_is_accepted(body: bytes, kind: str) -> None:
    """Any body gives ids, or none."""
    for ids in ids_in(body, kind):
        assert ids.task_id or ids.token


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("place", [0, 31, 33, 74, 75])
def test_no_character_of_a_segment_can_be_another(place: int) -> None:
    """Also not the last one, of which only some bits count when it is decoded."""
    signed = segment(b"secret", bytes(16), 1000)
    assert verdict([b"secret"], signed, 0) == "good"
    for letter in LETTERS.replace(signed[place], ""):
        assert verdict([b"secret"], signed[:place] + letter + signed[place + 1 :], 0) == "forged"


@pytest.mark.parametrize(
    "change",
    ["{}=", "{} ", "{}\n", " {}", "{}.", "{}%3D", "x{}", "{}.{}", "{},{}", "{} {}", "{}\0", "{}\u200b", "\ufeff{}"],
)
def test_no_other_spelling_is_accepted(change: str) -> None:
    """Neither padding, nor white space, nor several signatures."""
    signed = segment(b"secret", bytes(16), 1000)
    assert verdict([b"secret"], change.format(signed, signed), 0) == "forged"


@pytest.mark.parametrize(
    "respell",
    [
        lambda signed: signed.replace("-", "+").replace("_", "/"),  # the standard alphabet
        lambda signed: signed.replace(".", "%2E"),
        lambda signed: signed.lower(),
        lambda signed: signed.upper(),
        lambda signed: "".join(chr(ord(letter) + 0xFEE0) for letter in signed),  # full-width letters
        lambda signed: urlsafe_b64decode(signed.partition(".")[0]).hex() + signed[32:],
        lambda signed: signed[:33] + urlsafe_b64decode(signed[33:] + "=").hex(),
    ],
)
def test_no_other_alphabet_is_accepted(respell: Callable[[str], str]) -> None:
    """The URL is text, not bytes in some encoding."""
    signed = next(
        signed
        for number in range(1000)
        if {"-", "_"} <= set(signed := segment(b"secret", number.to_bytes(16, "big"), 1000))
    )
    assert verdict([b"secret"], signed, 0) == "good"
    assert verdict([b"secret"], respell(signed), 0) == "forged"
