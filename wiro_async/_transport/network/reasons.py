"""Describes why a connection failed, without the secrets that errors of libraries repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wiro_async._errors import ConfigurationError, ConnectionFailedError, WiroError
from wiro_async._protocol.http.local_trouble import diagnose
from wiro_async._redaction import HIDDEN

URL = re.compile(r"(\w+://)([^\s'\")]*)")


def reason(error: BaseException) -> tuple[str, BaseException | None]:
    """An error's text, and the error to chain ours to: None if it shows a URL, which may hold a secret."""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return URL.sub(_host_of, text), None if URL.search(text) else error


def unsent(error: BaseException, what: str, *, lasts: bool = False) -> WiroError:
    """The error to raise for a failure before any byte of a request could leave, with its `__cause__` set.

    Args:
        what: the beginning of its sentence, such as "Could not connect to api.wiro.ai".
        lasts: whether another attempt would fail the same way, where the error itself does not show it.
    """
    if isinstance(error, WiroError):
        return error
    links = tuple(causes(error))
    trouble = diagnose(links, reason(links[-1] if isinstance(links[-1], OSError) else error)[0])
    message = f"{what}: {trouble.words}. No request was sent.{trouble.remedy}"
    failed = (
        ConfigurationError(message)
        if trouble.is_setting
        else ConnectionFailedError(message, sent=False, permanent=lasts or trouble.permanent)
    )
    failed.__cause__ = reason(error)[1]
    return failed


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what caused it, down to the error of the operating system.

    Libraries raise some errors `from None`, so the context counts too. It ends at the first `OSError` without a cause:
    behind that one lies what the caller was doing, such as an error that the user's own code is handling.
    """
    link: BaseException | None = error
    while link is not None:
        yield link
        if isinstance(link, BaseExceptionGroup):
            link = link.exceptions[0]
        elif isinstance(link, OSError):
            link = link.__cause__
        else:
            link = link.__cause__ or link.__context__


def _host_of(match: re.Match[str]) -> str:
    authority, _, rest = match[2].partition("/")
    host = HIDDEN if "@" in rest else authority.rpartition("@")[2]  # a password may hold a slash
    return f"{match[1]}{host}/{HIDDEN}"
