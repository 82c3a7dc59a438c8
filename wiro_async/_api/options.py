"""The settings of a session, from its arguments and the environment."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import attrs

from wiro_async._errors import ConfigurationError
from wiro_async._protocol.auth import Credentials
from wiro_async._protocol.retry import RetryPolicy
from wiro_async._protocol.values import as_address
from wiro_async._redaction import without_login
from wiro_async._types import CallbackURL, CheckInputs, OnUnknown, ProgressMode, Timeouts
from wiro_async._version import __version__

BASE_URL = "https://api.wiro.ai/v1"
SOCKET_URL = "wss://socket.wiro.ai/v1"
USER_AGENT = f"wiro-async/{__version__} python/{platform.python_version()}"
MODES = ("auto", "websocket", "polling", "sse")


@attrs.frozen
class Options:
    """What a view on a session may set for itself."""

    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(repr=False)
    progress: ProgressMode
    timeouts: Timeouts
    retry: RetryPolicy
    on_unknown: OnUnknown
    check_inputs: CheckInputs
    max_download_bytes: int | None = None
    callback_url: CallbackURL | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        api_key: str | None,
        api_secret: str | None,
        headers: Mapping[str, str] | None,
        progress: ProgressMode,
        timeout: float | Timeouts | None,
        retry: RetryPolicy | None,
        on_unknown: OnUnknown,
        check_inputs: CheckInputs,
        max_download_bytes: int | None = None,
        callback_url: CallbackURL | None = None,
    ) -> Options:
        """Options of a new session. Raises `ConfigurationError`."""
        return cls(
            credentials(api_key, api_secret, bool(headers)),
            dict(headers or {}),
            known_mode(progress),
            Timeouts.of(timeout, Timeouts()),
            retry or RetryPolicy(),
            on_unknown,
            known_checking(check_inputs),
            max_download_bytes,
            callback_url,
        )


def credentials(api_key: str | None, api_secret: str | None, has_headers: bool) -> Credentials:
    """Keys from the arguments, else from the environment. Raises `ConfigurationError` if there are none."""
    api_key = api_key or os.environ.get("WIRO_API_KEY") or None
    api_secret = api_secret or os.environ.get("WIRO_API_SECRET") or None
    if api_key is None and not has_headers:
        raise ConfigurationError(
            "no API key: set WIRO_API_KEY (and WIRO_API_SECRET if your project asks for signatures), "
            "or give AsyncWiro(api_key=…, api_secret=…); behind a proxy of your own that adds the key, give headers=…"
        )
    return _checked(api_key, api_secret)


def other_credentials(old: Credentials, api_key: str | None, api_secret: str | None) -> Credentials:
    """Keys of a view: another key is used without the old secret, another secret with the old key."""
    if not api_key and not api_secret:
        return old
    return _checked(api_key or old.api_key, api_secret)


def _checked(api_key: str | None, api_secret: str | None) -> Credentials:
    if api_key is None and api_secret is not None:
        raise ConfigurationError("WIRO_API_SECRET is set but WIRO_API_KEY is not: a signature needs both")
    for name, value in (("WIRO_API_KEY", api_key), ("WIRO_API_SECRET", api_secret)):
        if value is not None and not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ConfigurationError(f"{name} holds white space or characters that a header cannot carry")
    return Credentials(api_key, api_secret)


def base_url(given: str | None) -> str:
    """The address of the HTTP API."""
    return _url(given, "WIRO_API_BASE_URL", BASE_URL, ("http", "https"))


def socket_url(given: str | None) -> str:
    """The address of the socket."""
    return _url(given, "WIRO_SOCKET_URL", SOCKET_URL, ("ws", "wss"))


def known_mode(progress: ProgressMode) -> ProgressMode:
    """The mode, if it is one."""
    if progress not in MODES:
        raise ConfigurationError(f"progress is {progress!r}; give one of {', '.join(map(repr, MODES))}")
    return progress


def known_checking(check_inputs: CheckInputs) -> CheckInputs:
    """The setting, if it is one."""
    if check_inputs not in ("auto", True, False):
        raise ConfigurationError(f"check_inputs is {check_inputs!r}; give 'auto', True or False")
    return check_inputs


def next_url(source: CallbackURL | None) -> str | None:
    """The callback URL for one run."""
    return source() if callable(source) else source


def _url(given: str | None, variable: str, default: str, schemes: tuple[str, str]) -> str:
    url = given or os.environ.get(variable) or default
    if as_address(url, schemes) is None:
        raise ConfigurationError(
            f"{variable} is {without_login(url)!r}; give an address that starts with {' or '.join(schemes)}://"
        )
    return url.rstrip("/")
