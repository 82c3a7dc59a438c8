"""Trusted certificates, and the proxies of the environment: equal for HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
import pytest_asyncio
import trustme

from wiro_async import AsyncWiro, ConfigurationError, ConnectionFailedError, DownloadError, RetryPolicy
from wiro_async.testing import WiroEmulator

QUICK = {"seconds": 5, "events": 9}
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority that signs the certificates of the tests."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate, in a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def behind() -> Iterator[WiroEmulator]:
    """An emulator without TLS."""
    with WiroEmulator(speed=50) as emulator:
        yield emulator


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward one direction."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, first: bytes = b""
) -> None:
    """Forward both directions."""
    with suppress(OSError):
        far_reader, far_writer = await asyncio.open_connection(host, port)
        far_writer.write(first)
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))


@asynccontextmanager
async def listening(handle: Callable[..., Awaitable[None]], tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Run a server on loopback, and end all its tasks."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def secured(behind: WiroEmulator, authority: trustme.CA) -> AsyncIterator[dict[str, Any]]:
    """Options for a session with the emulator over TLS, with a certificate of an unknown authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    port = urlsplit(behind.base_url).port
    assert port is not None
    async with listening(lambda reader, writer: join(reader, writer, "127.0.0.1", port), context) as secure:
        yield {
            **behind.options(),
            "base_url": f"https://127.0.0.1:{secure}/v1",
            "socket_url": f"wss://127.0.0.1:{secure}{urlsplit(behind.socket_url).path}",
            "retry": ONCE,
        }


@pytest.mark.parametrize("way", ["path", "text", "context", "environment", "no check"])
async def test_a_custom_certificate(
    behind: WiroEmulator, secured: dict[str, Any], ca_file: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over HTTP and WebSocket, both with TLS."""
    verify: Any = {"path": ca_file, "text": str(ca_file), "no check": False}.get(way, True)
    if way == "context":
        verify = ssl.create_default_context(cafile=str(ca_file))
    if way == "environment":
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with AsyncWiro(**secured, verify=verify) as wiro:
        assert (await wiro.run("emulator/sleeper", {"seconds": 10})).succeeded
    assert behind.ledger.sockets
    assert behind.ledger.count("Run/*") == 1


@pytest.mark.parametrize("trusted", ["default", "an empty directory"])
async def test_an_unknown_certificate(
    behind: WiroEmulator, secured: dict[str, Any], tmp_path: Path, trusted: str
) -> None:
    """The connection is refused, and nothing is sent."""
    async with AsyncWiro(**secured, verify=True if trusted == "default" else tmp_path) as wiro:
        with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
            await wiro.run("emulator/sleeper", QUICK)
    assert caught.value.sent is False
    assert not behind.ledger.calls


@pytest.mark.parametrize("transport", ["default", "httpx"])
async def test_a_bad_certificate_is_not_retried(
    behind: WiroEmulator, secured: dict[str, Any], tmp_path: Path, transport: str
) -> None:
    """A bad certificate is permanent: the error comes at once and says what to do."""
    secured["retry"] = RetryPolicy(attempts=5, base=60, cap=60, jitter=0)
    own = None if transport == "default" else httpx.AsyncHTTPTransport(verify=ssl.create_default_context())
    async with AsyncWiro(**secured, transport=own) as wiro:
        with anyio.fail_after(15):
            with pytest.raises(ConnectionFailedError, match=r"certificate verify failed.*verify=") as caught:
                await wiro.run("emulator/sleeper", QUICK)
            with pytest.raises(DownloadError, match=r"certificate verify failed.*verify="):
                await wiro.download(f"{secured['base_url']}/KEY/x.bin", tmp_path / "x.bin")
    assert (caught.value.sent, caught.value.permanent) == (False, True)
    assert not behind.ledger.calls


async def test_a_certificate_for_another_host(secured: dict[str, Any], authority: trustme.CA, ca_file: Path) -> None:
    """A certificate for another host is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    async with (
        listening(pipe, context) as port,
        AsyncWiro("key", base_url=f"https://127.0.0.1:{port}", verify=ca_file, retry=ONCE) as wiro,
    ):
        with pytest.raises(ConnectionFailedError, match="certificate"):
            await wiro.tasks.get("1")


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_missing_certificates(tmp_path: Path, content: str | None) -> None:
    """The error comes at first use, because the constructor reads nothing."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    async with AsyncWiro("key", verify=path) as wiro:
        with pytest.raises(ConfigurationError, match=r"verify is '.*ca\.pem', which holds no certificates"):
            await wiro.tasks.get("1")


async def test_one_context_is_made_off_the_loop(
    behind: WiroEmulator, secured: dict[str, Any], ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP, WebSocket and downloads share one context. It is made in a thread, because that takes long."""
    made: list[int] = []
    build = ssl.create_default_context

    def watched(*arguments: Any, **options: Any) -> ssl.SSLContext:
        made.append(threading.get_ident())
        return build(*arguments, **options)

    monkeypatch.setattr(ssl, "create_default_context", watched)
    async with AsyncWiro(**secured, verify=ca_file) as wiro:
        result = await wiro.run("emulator/sleeper", {"seconds": 10})
        url = str(result.output.url).replace(behind.base_url, secured["base_url"])
        await wiro.download(url, ca_file.parent / "slept.txt")
    assert behind.ledger.sockets
    assert len(made) == 1
    assert made[0] != threading.get_ident()


async def test_a_redirect_to_http(authority: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    """It is not followed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    response = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/KEY/x.bin\r\nContent-Length: 0\r\n\r\n"

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()

    async with listening(redirect, context) as port, AsyncWiro("key", verify=ca_file) as wiro:
        with pytest.raises(DownloadError, match="redirects from https to a URL without it") as caught:
            await wiro.download(f"https://127.0.0.1:{port}/KEY/x.bin", tmp_path / "x")
    assert "KEY" not in str(caught.value)


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that requires a password, and the targets of its requests."""
    targets: list[str] = []

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        if method != "CONNECT" or "proxy-authorization: basic bWU6cGE1NXdvcmQ=" not in head.replace(
            "Basic", "basic"
        ).replace("Proxy-Authorization", "proxy-authorization"):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        targets.append(target)
        host, _, port = target.rpartition(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await join(reader, writer, host, int(port))

    async with listening(connect) as port:
        yield f"127.0.0.1:{port}", targets


async def test_the_proxy_of_the_environment(
    behind: WiroEmulator,
    secured: dict[str, Any],
    ca_file: Path,
    proxy: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Requests, WebSocket and downloads go through the proxy, with TLS to the service."""
    netloc, targets = proxy
    monkeypatch.setenv("https_proxy", f"http://me:pa55word@{netloc}")
    async with AsyncWiro(**secured, verify=ca_file) as wiro:
        result = await wiro.run("emulator/sleeper", {"seconds": 10})
        url = str(result.output.url).replace(behind.base_url, secured["base_url"])
        assert (await wiro.download(url, tmp_path / "slept.txt")).read_bytes() == b"Slept well.\n"
    assert len(targets) >= 2
    assert set(targets) == {urlsplit(secured["base_url"]).netloc}
    assert behind.ledger.sockets


async def test_hosts_without_a_proxy(
    behind: WiroEmulator,
    secured: dict[str, Any],
    ca_file: Path,
    proxy: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NO_PROXY is honoured."""
    netloc, targets = proxy
    monkeypatch.setenv("https_proxy", f"http://{netloc}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with AsyncWiro(**secured, verify=ca_file) as wiro:
        assert (await wiro.run("emulator/sleeper", {"seconds": 10})).succeeded
    assert not targets
    assert behind.ledger.sockets


async def test_a_proxy_that_refuses(
    secured: dict[str, Any], ca_file: Path, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent, and the error does not show the password."""
    monkeypatch.setenv("https_proxy", f"http://me:wr0ngpassword@{proxy[0]}")
    async with AsyncWiro(**secured, verify=ca_file) as wiro:
        with pytest.raises(ConnectionFailedError, match="407") as caught:
            await wiro.run("emulator/sleeper", QUICK)
    assert caught.value.sent is False
    assert "wr0ngpassword" not in f"{caught.value!r}{caught.value.__cause__!r}"
