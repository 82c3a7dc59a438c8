"""A failure on this machine, before any connection, is reported at once as not sent, and no task is searched for."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from wiro_async import (
    AsyncWiro,
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    RetryPolicy,
    SubmissionUnknownError,
    Timeouts,
    Tuning,
    WiroError,
)

if TYPE_CHECKING:
    from tests.hostile.conftest import RawWiro

SECURE = "https://127.0.0.1:9/v1"
FAST = RetryPolicy(attempts=3, base=0.01, cap=0.01)


async def error_of(seconds: float = 2.0, **options: Any) -> WiroError:
    """The error of a run, which must come at once."""
    options.setdefault("updates", "polling")
    async with AsyncWiro("key", **options) as wiro:
        async with asyncio.timeout(seconds):
            with pytest.raises(WiroError) as caught:
                await wiro.run("owner/model", {"prompt": "x"})
    error = caught.value
    assert not isinstance(error, SubmissionUnknownError)
    assert getattr(error, "sent", False) is False
    return error


@pytest.fixture(autouse=True)
def no_certificates_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases set what they need."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "case, words",
    [
        (
            "certifi is missing",
            r"certifi's file is .*missing\.pem', which holds no certificates.*install certifi again",
        ),
        ("certifi is empty", r"certifi's file is .*empty\.pem', which holds no certificates"),
        ("certifi does not know", "Could not find certifi's certificates: a library cannot be imported"),
        ("SSL_CERT_FILE", r"SSL_CERT_FILE is .*missing\.pem', which holds no certificates"),
        ("SSL_CERT_DIR", r"SSL_CERT_DIR is .*missing\.pem', which is no directory"),
        ("SSLKEYLOGFILE", r"SSLKEYLOGFILE is .*x/keys', which cannot be written.*take it out of the environment"),
        ("verify", r"verify is .*missing\.pem', which holds no certificates"),
        ("a name with a zero byte", r"verify is .*, which holds no certificates"),
    ],
)
async def test_files_of_certificates(case: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are settings, and the error names the one to mend."""
    options: dict[str, Any] = {"base_url": SECURE}
    missing = tmp_path / "missing.pem"
    (tmp_path / "empty.pem").touch()
    match case:
        case "certifi is missing":
            monkeypatch.setattr(certifi, "where", lambda: str(missing))
        case "certifi is empty":
            monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "empty.pem"))
        case "certifi does not know":
            monkeypatch.setitem(sys.modules, "certifi", None)
        case "SSL_CERT_FILE" | "SSL_CERT_DIR":
            monkeypatch.setenv(case, str(missing))
        case "SSLKEYLOGFILE":
            monkeypatch.setenv(case, str(tmp_path / "x" / "keys"))
        case "verify":
            options["verify"] = missing
        case _:
            options["verify"] = "a\0b"
    error = await error_of(**options)
    assert isinstance(error, ConfigurationError)
    assert re.search(words, str(error)), str(error)


async def test_no_check_needs_no_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`verify=False` works without certifi."""
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "missing.pem"))
    error = await error_of(base_url=SECURE, verify=False, retry=RetryPolicy(attempts=1))
    assert "connection refused" in str(error)


async def test_a_context_for_servers() -> None:
    """It could not shake hands, so it is refused at once."""
    with pytest.raises(ConfigurationError, match="verify is a context for servers"):
        AsyncWiro("key", verify=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


class Raising(ssl.SSLContext):
    """A context of the user's own with a bug."""

    def wrap_bio(self, *args: Any, **options: Any) -> Any:
        """Fail where the handshake begins."""
        raise RuntimeError("the token with the client's certificate was pulled out")


async def test_a_context_that_raises(raw: RawWiro) -> None:
    """Its words reach the caller."""
    error = await error_of(
        base_url=raw.url.replace("http:", "https:"), verify=Raising(ssl.PROTOCOL_TLS_CLIENT), retry=FAST
    )
    assert "was pulled out" in str(error)
    assert not raw.requests


@pytest.mark.parametrize(
    "number, words, attempts",
    [
        (errno.EMFILE, r"too many open files", 3),
        (errno.EACCES, r"permission denied by this machine; check its firewall", 1),
        (errno.EPERM, r"permission denied by this machine; check its firewall", 1),
        (errno.ENETUNREACH, r"the network is unreachable", 3),
        (errno.EHOSTUNREACH, r"there is no route to the host", 3),
        (errno.ECONNREFUSED, r"connection refused", 3),
    ],
)
async def test_errors_of_the_system(
    raw: RawWiro, number: int, words: str, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transient error is tried again, a permanent one is not."""
    connects: list[Any] = []

    async def fail(_: Any, address: Any) -> None:
        connects.append(address)
        raise OSError(number, "somehow")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", fail)
    error = await error_of(base_url=raw.url, retry=FAST)
    monkeypatch.undo()
    assert isinstance(error, ConnectionFailedError)
    assert words in str(error)
    assert len(connects) == attempts


@pytest.mark.parametrize(
    "raised, kind, words",
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            ConnectionFailedError,
            "could not be looked up",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), ConnectionFailedError, "could not be looked up"),
        (UnicodeError("label too long"), ConfigurationError, "no host can have that name"),
        (OSError(errno.EMFILE, "Too many open files"), ConnectionFailedError, "too many open files"),
        (RuntimeError("can't start new thread"), ConnectionFailedError, "can't start new thread"),
        (MemoryError(), ConnectionFailedError, "MemoryError"),
    ],
)
async def test_errors_of_the_resolver(
    raised: Exception, kind: type[WiroError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that cannot be looked up is no lost response."""

    def fail(*_: Any, **__: Any) -> Any:
        raise raised

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = await error_of(base_url="http://name.test/v1", retry=FAST)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize("host", ["a..test", "x" * 70 + ".test", "name.test:0"])
async def test_hosts_that_cannot_be(host: str) -> None:
    """The options, the library or the resolver find it, and each is quick."""
    with pytest.raises(WiroError) as caught:
        raise await error_of(base_url=f"http://{host}/v1", retry=FAST)
    assert isinstance(caught.value, ConfigurationError) or "Could not connect" in str(caught.value)


@pytest.mark.parametrize(
    "proxy, kind, words",
    [
        ("http://me:s3cretpass@127.0.0.1:9", ConnectionFailedError, "the proxy 127.0.0.1:9: connection refused"),
        ("socks5://me:s3cretpass@127.0.0.1:9", ConfigurationError, "needs a transport of your own"),
        ("http://me:s3cretpass@127.0.0.1:port", ConfigurationError, "is not the URL of a proxy"),
        (
            "407",
            ConnectionFailedError,
            "the proxy answered 407 Proxy Authentication Required. No request was sent. Put name:password@",
        ),
        ("403", ConnectionFailedError, "the proxy answered 403 Forbidden"),
        ("502", ConnectionFailedError, "the proxy answered 502 Bad Gateway"),
    ],
)
async def test_proxies(proxy: str, kind: type[WiroError], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is away, wrong, or refuses the tunnel."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        reasons = {"407": "Proxy Authentication Required", "403": "Forbidden", "502": "Bad Gateway"}
        writer.write(f"HTTP/1.1 {proxy} {reasons[proxy]}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cretpass@127.0.0.1:{port}" if proxy.isdigit() else proxy)
        error = await error_of(base_url="https://api.test/v1", retry=FAST)
    assert type(error) is kind
    assert words in str(error)
    assert "s3cretpass" not in f"{error!r}{error.__cause__!r}"
    assert len(asked) == {"502": 3, "407": 1, "403": 1}.get(proxy, 0)


async def test_headers_that_cannot_be_encoded() -> None:
    """The error shows no value."""
    error = await error_of(base_url="http://127.0.0.1:9/v1", headers={"X-Note": "s3cretvalue\udcff"})
    assert isinstance(error, ConfigurationError)
    assert "X-Note" in str(error)
    assert "s3cretvalue" not in f"{error!r}{error.__cause__!r}"


async def test_a_library_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries are imported at the first request, in a thread."""
    monkeypatch.setitem(sys.modules, "wiro_async._transport.http.pool", None)
    error = await error_of(base_url="http://127.0.0.1:9/v1")
    assert isinstance(error, ConfigurationError)
    assert "Could not load httpx: a library cannot be imported" in str(error)


class Own(httpx.AsyncBaseTransport):
    """A transport of the user's own, which does something with the request and then fails."""

    def __init__(self, before: Callable[[httpx.Request], Awaitable[object]], error: Exception) -> None:
        self._before = before
        self._error = error
        self.paths: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Fail."""
        self.paths.append(request.url.path)
        await self._before(request)
        raise self._error


async def look_at_nothing(request: httpx.Request) -> object:
    """Read what is not the body."""
    return request.method, request.url, request.headers, request.extensions


async def look_at_content(request: httpx.Request) -> object:
    """The body, as most transports for tests read it."""
    return request.content


async def read(request: httpx.Request) -> object:
    """The same in another way."""
    return await request.aread()


async def read_stream(request: httpx.Request) -> object:
    """As those do that send it."""
    assert isinstance(request.stream, httpx.AsyncByteStream)
    return [piece async for piece in request.stream]


@pytest.mark.parametrize(
    "error, kind, words",
    [
        (
            ImportError("No module named 'h2'"),
            ConfigurationError,
            "a library cannot be imported (No module named 'h2')",
        ),
        (RuntimeError("install httpcore[http2]"), ConnectionFailedError, "install httpcore[http2]"),
        (KeyError("a bug"), ConnectionFailedError, "a bug"),
        (FileNotFoundError(errno.ENOENT, "client.pem"), ConnectionFailedError, "client.pem"),
    ],
)
@pytest.mark.parametrize("body", ["json", "form"])
async def test_a_transport_of_ones_own_that_fails_before_it_sends(
    error: Exception, kind: type[WiroError], words: str, body: str, tmp_path: Path
) -> None:
    """It never looked at the body, so no run can have left."""
    (tmp_path / "a.png").write_bytes(b"x")
    given = {"prompt": "x", **({"image": tmp_path / "a.png"} if body == "form" else {})}
    transport = Own(look_at_nothing, error)
    async with AsyncWiro("key", base_url="http://api.test/v1", updates="polling", transport=transport) as wiro:
        async with asyncio.timeout(5):
            with pytest.raises(kind) as caught:
                await wiro.run("owner/model", given)
    assert words in str(caught.value)
    assert "No request was sent" in str(caught.value)
    assert getattr(caught.value, "sent", False) is False
    assert not any("List" in path for path in transport.paths)


@pytest.mark.parametrize("before", [look_at_content, read, read_stream])
@pytest.mark.parametrize("error", [ImportError("No module named 'brotli'"), RuntimeError("somehow"), OSError("gone")])
async def test_a_transport_that_may_have_sent(
    before: Callable[[httpx.Request], Awaitable[object]], error: Exception
) -> None:
    """It looked at the body before it failed. Absence of evidence is not evidence: the outcome stays unknown."""
    transport = Own(before, error)
    tuning = Tuning(search_grace=0.05, search_pause=0.02)
    options: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "timeout": Timeouts(request=0.1), "tuning": tuning}
    async with AsyncWiro("key", base_url="http://api.test/v1", transport=transport, **options) as wiro:
        with pytest.raises(SubmissionUnknownError):
            await wiro.run("owner/model", {"prompt": "x"})
    assert "/v1/Task/List" in transport.paths
    assert sum("Run" in path for path in transport.paths) == 1


async def test_a_realtime_session_says_it_too(tmp_path: Path) -> None:
    """Its socket is opened first; a setting is not tried three times."""
    options: dict[str, Any] = {"socket_url": "wss://127.0.0.1:9/v1", "verify": tmp_path / "missing.pem"}
    async with AsyncWiro("key", base_url=SECURE, **options) as wiro, asyncio.timeout(2):
        with pytest.raises(ConfigurationError, match="which holds no certificates"):
            async with wiro.realtime("owner/model", {}):
                pass


async def test_reads_uploads_and_downloads_say_it_too(tmp_path: Path) -> None:
    """Each at once."""
    async with AsyncWiro("key", base_url=SECURE, verify=tmp_path / "missing.pem") as wiro, asyncio.timeout(3):
        with pytest.raises(ConfigurationError, match="holds no certificates"):
            await wiro.tasks.get("1")
        (tmp_path / "a.png").write_bytes(b"x")
        with pytest.raises(ConfigurationError, match="holds no certificates"):
            await wiro.files.upload(tmp_path / "a.png")
        with pytest.raises(WiroError, match="holds no certificates"):
            await wiro.download(f"{SECURE}/x.png", tmp_path / "x.png")


def old_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority, and a server's certificate, made as old companies did: without the identifiers of RFC 5280."""
    now = datetime.now(UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("Old", "127.0.0.1")
    )

    def made(subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    authority = made(authority_name, authority_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    address = x509.IPAddress(ip_address("127.0.0.1"))
    server = made(name, key.public_key(), x509.SubjectAlternativeName([address]))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "authority.pem").write_bytes(authority)
    (folder / "server.pem").write_bytes(private + server)
    return folder / "authority.pem", folder / "server.pem"


@pytest.mark.parametrize("is_strict", [False, True])
async def test_a_strict_check_is_named(is_strict: bool, tmp_path: Path) -> None:
    """Python 3.13 sets VERIFY_X509_STRICT. A failure that it causes names it."""
    authority, chain = old_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if is_strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=server) as listening:
        url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        error = await error_of(base_url=url, verify=context)
    assert isinstance(error, ConnectionFailedError if is_strict else AuthenticationError)
    assert ("ssl.VERIFY_X509_STRICT" in str(error)) == is_strict
    assert getattr(error, "permanent", False) is is_strict
