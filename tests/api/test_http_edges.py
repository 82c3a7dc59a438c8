"""Odd responses, seen by a session over its default transport."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest
import respx

from wiro_async import (
    APIError,
    AsyncWiro,
    AuthenticationError,
    ConnectionFailedError,
    DecodingError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    WiroError,
)

API = "https://api.test/v1"
HTML = "<html><body>no</body></html>"
BAD = {"result": False, "errors": []}
GOOD = b'{"result":true,"errors":[]}'


async def response_to(*given: Any, **options: Any) -> None:
    """Make a call that gets this response."""
    retry = RetryPolicy(attempts=1)
    with respx.mock as router:
        router.post(f"{API}/Task/Detail").mock(return_value=httpx.Response(*given, **options))
        async with AsyncWiro("key", base_url=API, updates="polling", retry=retry) as wiro:
            await wiro.tasks.get("1")


@pytest.mark.parametrize(
    "status, options, kind",
    [
        (401, {"json": BAD}, AuthenticationError),
        (403, {"json": BAD}, PermissionDeniedError),
        (404, {"json": BAD}, NotFoundError),
        (429, {"json": BAD}, RateLimitError),
        (500, {"json": BAD}, ServerError),
        (401, {"text": HTML}, DecodingError),
        (500, {"content": b""}, DecodingError),
        (502, {"text": HTML}, DecodingError),
        (200, {"text": HTML}, DecodingError),
        (200, {"content": b""}, DecodingError),
        (200, {"content": b"\xff\xfe"}, DecodingError),
        (200, {"content": b"[]"}, DecodingError),
        (204, {}, DecodingError),
        (307, {"headers": {"Location": "https://evil.test/"}}, WiroError),
        (200, {"content": GOOD, "headers": {"Content-Encoding": "br"}}, ConnectionFailedError),
    ],
)
async def test_responses_that_are_errors(status: int, options: dict[str, Any], kind: type[Exception]) -> None:
    """Each becomes the error that names the remedy."""
    with pytest.raises(kind):
        await response_to(status, **options)


@pytest.mark.parametrize("after, seconds", [("7", 7.0), ("never", None), ("-3", 0.0)])
async def test_when_to_retry(after: str, seconds: float | None) -> None:
    """The header decides, if it is valid."""
    with pytest.raises(RateLimitError) as caught:
        await response_to(429, json=BAD, headers={"retry-after": after})
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "content, headers",
    [
        (GOOD, {}),
        (b"\xef\xbb\xbf" + GOOD, {}),
        (GOOD, {"Content-Type": "text/html"}),
        (gzip.compress(GOOD, mtime=0), {"Content-Encoding": "gzip"}),
        (gzip.compress(GOOD, mtime=0), {"content-encoding": "X-GZIP"}),
    ],
    ids=["plain", "with a mark", "another type", "packed", "packed by another name"],
)
async def test_valid_responses(content: bytes, headers: dict[str, str]) -> None:
    """In any encoding and with any content type."""
    await response_to(200, stream=httpx.ByteStream(content), headers=headers)


async def test_the_words_of_the_service() -> None:
    """An error contains the service's message."""
    body = {"result": False, "errors": [{"code": 97, "message": "no such task"}]}
    with pytest.raises(APIError, match="no such task") as caught:
        await response_to(200, json=body)
    assert caught.value.http_status == 200
