"""Which transports a session accepts, and that libraries which mock httpx work with a default session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import httpx_aiohttp
import pytest
import respx

from wiro_async import AsyncWiro, ConfigurationError, RequestTimeoutError, RetryPolicy
from wiro_async.testing import WiroEmulator

if TYPE_CHECKING:
    from pytest_httpx import HTTPXMock

API = "https://api.test/v1"
UNKNOWN = {"result": False, "errors": [{"code": 0, "message": "no such task"}]}
ONCE = RetryPolicy(attempts=1)


async def test_respx_sees_a_default_session() -> None:
    """Its usual patches work without a transport."""
    with respx.mock as router:
        route = router.post(f"{API}/Task/Cancel").respond(json={"result": True, "errors": []})
        async with AsyncWiro("key", base_url=API, updates="polling") as wiro:
            await wiro.tasks.cancel("1")
            await wiro.tasks.cancel("2")
    assert route.call_count == 2
    assert route.calls.last.request.headers["x-api-key"] == "key"
    assert b'"2"' in route.calls.last.request.content


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout])
async def test_errors_that_respx_raises(error: type[Exception]) -> None:
    """They become the SDK's errors. A mocked error has no cause, so it does not prove that nothing was sent."""
    with respx.mock as router:
        router.post(f"{API}/Task/Cancel").mock(side_effect=error)
        async with AsyncWiro("key", base_url=API, updates="polling", retry=ONCE) as wiro:
            with pytest.raises(Exception, match=r"api\.test") as caught:
                await wiro.tasks.cancel("1")
    assert isinstance(caught.value, RequestTimeoutError) == issubclass(error, httpx.TimeoutException)


async def test_pytest_httpx_sees_a_default_session(httpx_mock: HTTPXMock) -> None:
    """Its patches work without a transport."""
    httpx_mock.add_response(url=f"{API}/Task/Cancel", json={"result": True, "errors": []}, is_reusable=True)
    async with AsyncWiro("key", base_url=API, updates="polling") as wiro:
        await wiro.tasks.cancel("1")
        await wiro.tasks.cancel("2")
    assert [b'"1"' in request.content for request in httpx_mock.get_requests()] == [True, False]


class Wrapping(httpx.AsyncBaseTransport):
    """A transport that wraps another one."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.mark.parametrize(
    "transport", [httpx.AsyncHTTPTransport, httpx_aiohttp.AiohttpTransport, httpx2.AsyncHTTPTransport, Wrapping]
)
async def test_a_run_over_a_custom_transport(
    emulator: WiroEmulator, short_timing: None, transport: Callable[[], Any]
) -> None:
    """A run, and its output."""
    async with AsyncWiro(**emulator.options(), transport=transport()) as wiro:
        result = await wiro.run("emulator/sleeper", {"seconds": 5})
        assert await result.output.read() == b"Slept well.\n"


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_mock_transports(library: Any) -> None:
    """A response that is complete from the start."""

    def answer(request: Any) -> Any:
        assert isinstance(request, library.Request)
        assert request.content
        return library.Response(200, json={"result": True, "errors": []})

    async with AsyncWiro("key", base_url=API, transport=library.MockTransport(answer)) as wiro:
        await wiro.tasks.cancel("1")


class AlmostATransport:
    """Has the method but does not derive from the base class."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200)


@pytest.mark.parametrize(
    "make", [AlmostATransport, object, httpx.HTTPTransport, httpx.AsyncClient, lambda: "https://x"]
)
async def test_invalid_transports(make: Callable[[], Any]) -> None:
    """They are refused at once, with the type and the remedy."""
    given = make()
    name = rf"transport is a .*{type(given).__name__}, .*give one, such as httpx\.AsyncHTTPTransport"
    with pytest.raises(ConfigurationError, match=name):
        AsyncWiro("key", transport=given)
    if isinstance(given, httpx.AsyncClient):
        await given.aclose()
