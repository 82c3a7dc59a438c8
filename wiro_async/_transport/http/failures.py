"""Turns errors of HTTP libraries into ours, and decides whether the request can have left.

"Never left" is decided by the class of an error's cause. The class of the error itself proves nothing: one transport
calls a server that hung up a connect timeout. Only errors of the libraries that open connections count, and only those
that they raise before a connection exists. An error that no network can cause proves it too, if it came before the
transport looked at the request's body: nobody acts on a run without its body.
"""

from __future__ import annotations

import sys

from wiro_async._errors import ConfigurationError, ConnectionFailedError, RequestTimeoutError, WiroError
from wiro_async._protocol.http.local_trouble import BY_ERRNO
from wiro_async._transport.network.reasons import reason, unsent


def failure(
    error: Exception, host: str, seconds: float | None, body_has_begun: bool, body_is_unseen: bool
) -> WiroError:
    """The error to raise instead, with its `__cause__` set.

    Args:
        seconds: the timeout of the request.
        body_has_begun: whether any of a streamed body was asked for.
        body_is_unseen: whether there is a body, and the transport provably did not look at it.
    """
    text, cause = reason(error)
    failed: WiroError
    if _is_by(error, "httpx", "UnsupportedProtocol"):
        failed, cause = ConfigurationError(f"This is not an HTTP request: {text}."), None
    elif _is_by(error, "httpx", "LocalProtocolError") and not body_has_begun:
        # Headers are checked before any byte is written. Afterwards only a streamed body can break the protocol.
        failed, cause = ConfigurationError(f"The headers are not valid: {text}. No request was sent."), None
    elif error.__cause__ is not None and _is_unconnected(error.__cause__):
        return unsent(error, f"Could not connect to {host}")
    elif body_is_unseen and not _is_of_the_network(error):
        # A transport of the user's own failed before it had anything to send: a missing library, a missing file, a bug.
        return unsent(
            error, f"The transport cannot send to {host}", lasts=getattr(error, "errno", None) not in BY_ERRNO
        )
    elif _is_timeout(error):
        failed = RequestTimeoutError(f"No response from {host} within {seconds} s.")
    else:
        failed = ConnectionFailedError(f"The connection to {host} failed: {text}.")
    failed.__cause__ = cause
    return failed


def _is_unconnected(cause: BaseException) -> bool:
    return _is_by(cause, "httpcore", "ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError") or _is_by(
        cause, "aiohttp", "ClientConnectorError", "ConnectionTimeoutError", "ClientHttpProxyError"
    )


def _is_of_the_network(error: Exception) -> bool:
    is_by_library = _is_by(error, "httpx", "TransportError") or _is_by(error, "aiohttp", "ClientError")
    return is_by_library or isinstance(error, (TimeoutError, ConnectionError))


def _is_timeout(error: Exception) -> bool:
    if error.__cause__ is not None and _is_by(error.__cause__, "aiohttp", "ClientError"):
        return isinstance(error.__cause__, TimeoutError)  # its adapter to httpx has only one class for several errors
    return isinstance(error, TimeoutError) or _is_by(error, "httpx", "TimeoutException")


def _is_by(error: BaseException, library: str, *names: str) -> bool:
    """Whether it is one of these errors of a library, or of its second edition, as far as that was imported."""
    modules = (sys.modules.get(library), sys.modules.get(f"{library}2"))
    return any(isinstance(error, getattr(module, name, ())) for module in modules for name in names)
