"""Causes of failures before a request could leave, as a table."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiro_async._protocol.http.local_trouble import BY_ERRNO, STRICT, UNTRUSTED, Trouble, diagnose


class ProxyError(Exception):
    """As of httpcore."""


class ClientHttpProxyError(Exception):
    """As of aiohttp."""

    status, message = 403, "Forbidden"


class ProxyConnectError(OSError):
    """As of the transport."""


def untrusted(code: int) -> ssl.SSLCertVerificationError:
    """The error of a certificate."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def after(context: Exception) -> Exception:
    """An error that was raised while the caller handled another one."""
    try:
        try:
            raise context
        except type(context):
            raise RuntimeError("ours")  # noqa: B904
    except RuntimeError as error:
        return error


HANDLED = after(ImportError("the caller's"))
CAUSED = ValueError("wrapped")
CAUSED.__cause__ = UnicodeError("label too long")


@pytest.mark.parametrize(
    "links, trouble",
    [
        ([ConnectionRefusedError(errno.ECONNREFUSED, "x")], Trouble("connection refused")),
        ([OSError(errno.EMFILE, "x")], Trouble(BY_ERRNO[errno.EMFILE][0])),
        ([PermissionError(errno.EACCES, "x")], Trouble(BY_ERRNO[errno.EACCES][0], permanent=True)),
        ([PermissionError(errno.EACCES, "x", "/client.pem")], Trouble("text")),
        ([OSError(errno.EPIPE, "x")], Trouble("text")),
        ([OSError("two texts; of two addresses")], Trouble("text")),
        ([TimeoutError()], Trouble("timed out")),
        ([RuntimeError("the TLS handshake timed out"), TimeoutError()], Trouble("the TLS handshake timed out")),
        ([RuntimeError("http://x.test/s3cret timed out"), TimeoutError()], Trouble("timed out")),
        ([socket.gaierror(-2, "unknown")], Trouble("its name could not be looked up ([Errno -2] unknown)")),
        ([ssl.SSLError(1, "wrong version number")], Trouble("text")),
        ([untrusted(20)], Trouble("text", permanent=True, remedy=UNTRUSTED)),
        ([untrusted(79)], Trouble("text", permanent=True, remedy=UNTRUSTED)),
        ([untrusted(80)], Trouble("text", permanent=True, remedy=STRICT)),
        ([RuntimeError(), untrusted(94)], Trouble("text", permanent=True, remedy=STRICT)),
        ([untrusted(95)], Trouble("text", permanent=True, remedy=UNTRUSTED)),
        ([UnicodeError("a")], Trouble("no host can have that name or port (a)", permanent=True, is_setting=True)),
        ([OverflowError("a")], Trouble("no host can have that name or port (a)", permanent=True, is_setting=True)),
        (
            [CAUSED, CAUSED.__cause__],
            Trouble("no host can have that name or port (label too long)", permanent=True, is_setting=True),
        ),
        (
            [ModuleNotFoundError("No module named 'h2'")],
            Trouble(
                "a library cannot be imported (No module named 'h2')",
                permanent=True,
                is_setting=True,
                remedy=" Install what is missing.",
            ),
        ),
        ([HANDLED, HANDLED.__context__], Trouble("text")),
        ([ProxyError("403 Forbidden")], Trouble("the proxy answered 403 Forbidden", permanent=True)),
        ([ClientHttpProxyError("…")], Trouble("the proxy answered 403 Forbidden", permanent=True)),
        ([ProxyError("302 Found")], Trouble("the proxy answered 302 Found", permanent=True)),
        ([ProxyError("502 Bad Gateway")], Trouble("the proxy answered 502 Bad Gateway")),
        ([ProxyError("429 Too Many Requests")], Trouble("the proxy answered 429 Too Many Requests")),
        ([ProxyError("could not connect")], Trouble("text")),
        (
            [ProxyError("407 Proxy Authentication Required")],
            Trouble(
                "the proxy answered 407 Proxy Authentication Required",
                permanent=True,
                remedy=" Put name:password@ before its host in HTTPS_PROXY.",
            ),
        ),
        (
            [ProxyConnectError("p.test:3128"), ConnectionRefusedError(errno.ECONNREFUSED, "x")],
            Trouble("the proxy p.test:3128: connection refused"),
        ),
        ([RuntimeError("can't start new thread")], Trouble("text")),
    ],
)
def test_what_it_says(links: list[BaseException], trouble: Trouble) -> None:
    """Words, whether it lasts, whether a setting is wrong, and what to do."""
    assert diagnose(links, "text") == trouble


@given(st.lists(st.sampled_from([OSError, ValueError, ImportError, RuntimeError, TimeoutError]), min_size=1), st.text())
def test_any_chain_has_words(kinds: list[type[Exception]], text: str) -> None:
    """And only settings are refused for good without knowing more."""
    trouble = diagnose([kind("x") for kind in kinds], text)
    assert trouble.words or not text
    assert trouble.permanent or not trouble.is_setting
