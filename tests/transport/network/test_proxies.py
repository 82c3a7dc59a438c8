"""Proxies of the environment."""

from __future__ import annotations

import base64
import traceback
from typing import TYPE_CHECKING

import pytest

from wiro_async._errors import ConfigurationError, ConnectionFailedError, WiroError
from wiro_async._transport.http import HttpTransport
from wiro_async._transport.network.proxies import at_address, proxy_for
from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import connected
from wiro_async._tuning import Tuning

if TYPE_CHECKING:
    from tests.transport.conftest import Conversation, Serve


@pytest.mark.parametrize(
    "environment, scheme, host, proxy",
    [
        ({}, "https", "api.test", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "api.test", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "https", "api.test", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http", "api.test", None),
        ({"HTTPS_PROXY": "p:1"}, "https", "api.test", "http://p:1"),
        ({"HTTPS_PROXY": "https://p:1"}, "https", "api.test", "https://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https", "api.test", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "socks5://q:1"}, "https", "api.test", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.test,x"}, "https", "api.test", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https", "api.test", None),
        ({"ALL_PROXY": "socks5://q:1", "NO_PROXY": "127.0.0.1"}, "http", "127.0.0.1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1:80"}, "http", "127.0.0.1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1:81"}, "http", "127.0.0.1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "::1"}, "http", "::1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "x, 10.0.0.0/8,fd00::/8,no/net"}, "http", "10.1.2.3", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http", "11.1.2.3", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http", "api.test", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8:80"}, "http", "10.1.2.3", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8:81"}, "http", "10.1.2.3", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http", "::ffff:10.1.2.3", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, "http", "fd00::5", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1]"}, "http", "::1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1]:80"}, "http", "::1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1]:81"}, "http", "::1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "0:0:0:0:0:0:0:1"}, "http", "::1", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "::2"}, "http", "::1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": ".test"}, "http", "api.test", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "test"}, "http", "api.test", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*.test"}, "http", "API.test", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*.test:81"}, "http", "api.test", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "*.test"}, "http", "api.testing", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "pi.test"}, "http", "api.test", "http://p:1"),
        ({"HTTP_PROXY": "http://me:p%2Fw@p:1/"}, "http", "api.test", "http://me:p%2Fw@p:1/"),
    ],
)
def test_which_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], scheme: str, host: str, proxy: str | None
) -> None:
    """By the scheme, else by `all_proxy`, unless the host is excepted."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(scheme, host, 443 if scheme == "https" else 80) == proxy


@pytest.mark.parametrize(
    "proxy, address, given",
    [
        ("http://p:1", "10.0.0.1", "http://10.0.0.1:3128"),
        ("http://me:p%2Fw@p:1/", "10.0.0.1", "http://me:p%2Fw@10.0.0.1:3128"),
        ("https://me@p", "fd00::5", "https://me:@[fd00::5]:3128"),
    ],
)
def test_a_proxy_by_its_address(proxy: str, address: str, given: str) -> None:
    """Its name and password stay as they are."""
    assert at_address(proxy, address, 3128) == given


def test_a_kind_that_needs_a_custom_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and the remedy, without the password."""
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@q:1")
    with pytest.raises(ConfigurationError, match=r"ALL_PROXY asks .* socks5://.*transport=.* NO_PROXY") as caught:
        proxy_for("https", "api.test")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    ["http://me:s3/cret@p:1", "http://me:s3#cret@p:1", "http://me:s3cret@p:port", "me:s3?cret@p", "http://", "["],
)
async def test_invalid_proxies(built_in: HttpTransport, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """The error names the variable without its value, because a part of a password can look like a host or a port."""
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(
        ConfigurationError,
        match=r"http_proxy is not the URL of a proxy; write it as http://host:port, with name:password@ ",
    ) as caught:
        await built_in.post("http://api.test/v1/x", {}, b"{}", 5.0)
    text = "".join(traceback.format_exception(caught.value))
    assert "s3" not in text
    assert "cret" not in text


async def test_calls_by_a_proxy(built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy gets the whole URL, and only the proxy gets its password."""

    async def proxy(peer: Conversation) -> None:
        while True:
            await peer.request()
            await peer.answer()

    server, direct = await serve(proxy), await serve(proxy)
    monkeypatch.setenv("HTTP_PROXY", f"http://me:s3cret@127.0.0.1:{server.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for _ in range(2):
        await built_in.post("http://api.test/v1/x", {}, b"{}", 5.0)
    await built_in.post(f"{direct.url}/v1/x", {}, b"{}", 5.0)
    (peer,) = server.conversations
    password = base64.b64encode(b"me:s3cret").decode()
    for head in peer.heads:
        assert head.startswith("POST http://api.test/v1/x HTTP/1.1\r\n")
        assert f"proxy-authorization: basic {password}\r\n".lower() in head.lower()
        assert "\r\nauthorization" not in head.lower()
    (other,) = direct.conversations
    assert "authorization" not in other.heads[0].lower()


async def test_a_proxy_that_refuses(built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the request was sent through it."""

    async def refuse(peer: Conversation) -> None:
        await peer.head()
        await peer.answer(b"", "", "407 Proxy Authentication Required")
        await peer.gone()

    server = await serve(refuse)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@127.0.0.1:{server.port}")
    with pytest.raises(ConnectionFailedError) as caught:
        await built_in.post("https://api.test/v1/x", {}, b"{}", 5.0)
    assert not caught.value.sent
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"
    assert [peer.heads[0].split("\r\n")[0] for peer in server.conversations] == ["CONNECT api.test:443 HTTP/1.1"]


async def test_sockets_by_a_proxy(tls: Tls, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets use the proxies of the environment too."""

    async def refuse(peer: Conversation) -> None:
        await peer.head()
        await peer.answer(b"", "", "403 Forbidden")
        await peer.gone()

    server = await serve(refuse)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    with pytest.raises(ConnectionFailedError):
        async with connected("wss://socket.test/v1", "us", tls, False, Tuning()):
            pass
    assert server.conversations[0].heads[0].startswith("CONNECT socket.test:443 ")


@pytest.mark.parametrize("end", ["hangs up", "is silent"])
async def test_a_proxy_that_opens_no_tunnel(
    built_in: HttpTransport, serve: Serve, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Nothing was sent through it, and the error comes well before the timeout."""

    async def no_tunnel(peer: Conversation) -> None:
        await peer.head()
        if end == "is silent":
            await peer.gone()

    server = await serve(no_tunnel)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
    with pytest.raises(ConnectionFailedError, match=r"Could not connect to api\.test") as caught:
        await built_in.post("https://api.test/v1/x", {}, b"{}", 0.6)
    assert not caught.value.sent


@pytest.mark.parametrize("network", ["127.0.0.0/8", "10.0.0.0/8"])
async def test_networks_without_a_proxy(
    built_in: HttpTransport, tls: Tls, serve: Serve, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """They apply to HTTP and to sockets alike."""

    async def answer(peer: Conversation) -> None:
        await peer.head()
        await peer.answer(b"", "", "403 Forbidden")
        await peer.gone()

    server, proxy = await serve(answer), await serve(answer)
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", f"test.example, {network}")
    await built_in.post(f"{server.url}/v1/x", {}, b"", 5.0)
    with pytest.raises(ConnectionFailedError) as caught:
        async with connected(f"ws://127.0.0.1:{server.port}/v1", "us", tls, False, Tuning()):
            pass
    assert not caught.value.sent
    asked = [peer.heads[0].split(" ")[0] for peer in (*server.conversations, *proxy.conversations)]
    assert asked == (["POST", "GET"] if network == "127.0.0.0/8" else ["POST", "CONNECT"])
    assert bool(proxy.conversations) == (network == "10.0.0.0/8")


@pytest.mark.parametrize(
    "proxy, kind, words",
    [
        ("socks5://me:s3cret@127.0.0.1:1", ConfigurationError, "needs a transport of your own"),
        ("ftp://127.0.0.1:1", ConfigurationError, "needs a transport of your own"),
        ("http://me@127.0.0.1:1", ConnectionFailedError, r"the proxy 127\.0\.0\.1:1: connection refused"),
        ("http://me:s3cret@no.invalid:1", ConnectionFailedError, r"the proxy no\.invalid:1: its name could not be"),
    ],
)
async def test_sockets_without_a_usable_proxy(
    tls: Tls, monkeypatch: pytest.MonkeyPatch, proxy: str, kind: type[WiroError], words: str
) -> None:
    """There is no socket, and runs are followed by polling."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("SOCKS_PROXY", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(kind, match=words) as caught:
        async with connected("wss://socket.test/v1", "us", tls, False, Tuning()):
            pass
    assert "s3cret" not in str(caught.value)
    assert "me@" not in str(caught.value)
