"""The settings of a session, from its arguments and the environment."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import attrs

from wiro_async._errors import ConfigurationError
from wiro_async._protocol.http.auth import Credentials
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.values.parsing import parse_url
from wiro_async._redaction import without_login
from wiro_async._types import CallbackURL, CheckInputs, OnUnknown, UpdateMode, Timeouts
from wiro_async._version import __version__

BASE_URL = "https://api.wiro.ai/v1"
SOCKET_URL = "wss://socket.wiro.ai/v1"
USER_AGENT = f"wiro-async/{__version__} python/{platform.python_version()}"
MODES = ("auto", "websocket", "polling", "sse")


class OptionChanges(TypedDict, total=False):
    """Keyword arguments of `AsyncWiro.with_options`; `AsyncWiro` tells what they mean."""

    api_key: str | None
    api_secret: str | None
    headers: Mapping[str, str] | None
    progress: UpdateMode | None
    timeout: float | Timeouts | None
    retry: RetryPolicy | None
    on_unknown: OnUnknown | None
    check_inputs: CheckInputs | None
    max_download_bytes: int | None
    callback_url: CallbackURL | None


def known_mode(progress: UpdateMode) -> UpdateMode:
    """The mode, if it is one."""
    if progress not in MODES:
        raise ConfigurationError(f"progress is {progress!r}; give one of {', '.join(map(repr, MODES))}")
    return progress


def known_checking(check_inputs: CheckInputs) -> CheckInputs:
    """The setting, if it is one."""
    if check_inputs not in ("auto", True, False):
        raise ConfigurationError(f"check_inputs is {check_inputs!r}; give 'auto', True or False")
    return check_inputs


def known_doubt(on_unknown: OnUnknown) -> OnUnknown:
    """The setting, if it is one: anything else must not be taken for the permission to send a run twice."""
    if on_unknown not in ("raise", "resubmit"):
        raise ConfigurationError(f"on_unknown is {on_unknown!r}; give 'raise' or 'resubmit'")
    return on_unknown


def known_retry(retry: RetryPolicy | None) -> RetryPolicy:
    """The policy, if it is one; else that of a new session."""
    given: object = retry
    if given is not None and not isinstance(given, RetryPolicy):
        raise ConfigurationError(
            f"retry is a {type(given).__name__}; give a RetryPolicy, such as RetryPolicy(attempts=3)"
        )
    return retry or RetryPolicy()


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that HTTP can carry; their values are not shown."""
    given: Iterable[tuple[object, object]] = dict(headers or {}).items()
    for name, value in given:
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"the header {name!r} has a {type(value).__name__} as its value; give text")
    return dict(headers or {})


def checked_count(value: int | None, name: str) -> int | None:
    """A whole number above 0, or None."""
    given: object = value
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise ConfigurationError(f"{name} is {value!r}; give a whole number above 0")
    return value


def checked_size(value: int | None) -> int | None:
    """The most bytes of one output."""
    return checked_count(value, "max_download_bytes")


def checked_rate(value: float, name: str) -> float:
    """A finite number above 0."""
    given: object = value
    if not isinstance(given, (int, float)) or not 0 < given < float("inf"):
        raise ConfigurationError(f"{name} is {value!r}; give a number above 0")
    return value


@attrs.frozen
class Options:
    """What a view on a session may set for itself. Raises `ConfigurationError` for what is wrong."""

    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(repr=False, converter=checked_headers)
    progress: UpdateMode = attrs.field(converter=known_mode)
    timeouts: Timeouts
    retry: RetryPolicy = attrs.field(converter=known_retry)
    on_unknown: OnUnknown = attrs.field(converter=known_doubt)
    check_inputs: CheckInputs = attrs.field(converter=known_checking)
    max_download_bytes: int | None = attrs.field(default=None, converter=checked_size)
    callback_url: CallbackURL | None = attrs.field(default=None, repr=False)

    def changed(self, changes: OptionChanges) -> Options:
        """The same with some changes."""
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if unknown := given.keys() - OptionChanges.__annotations__.keys():
            raise ConfigurationError(f"a view has no option {', '.join(sorted(unknown))}")
        return attrs.evolve(
            self,
            credentials=other_credentials(self.credentials, given.pop("api_key", None), given.pop("api_secret", None)),
            headers={**self.headers, **checked_headers(given.pop("headers", None))},
            timeouts=Timeouts.of(given.pop("timeout", None), self.timeouts),
            **given,
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
    given: Iterable[tuple[str, object]] = (("WIRO_API_KEY", api_key), ("WIRO_API_SECRET", api_secret))
    for name, value in given:
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name} (or api_key, api_secret) is of type {type(value).__name__}; give text")
        if value is not None and not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ConfigurationError(f"{name} holds white space or characters that a header cannot carry")
    return Credentials(api_key, api_secret)


def base_url(given: str | None) -> str:
    """The address of the HTTP API."""
    return _url(given, "WIRO_API_BASE_URL", BASE_URL, ("http", "https"))


def socket_url(given: str | None) -> str:
    """The address of the socket."""
    return _url(given, "WIRO_SOCKET_URL", SOCKET_URL, ("ws", "wss"))


def next_url(source: CallbackURL | None) -> str | None:
    """The callback URL for one run."""
    return source() if callable(source) else source


def _url(given: str | None, variable: str, default: str, schemes: tuple[str, str]) -> str:
    url = given or os.environ.get(variable) or default
    parts = parse_url(url, schemes)
    if parts is None or parts.query or parts.fragment:
        shown = without_login(str(url).partition("?")[0].partition("#")[0])
        raise ConfigurationError(
            f"{variable} is {shown!r}; give an address that starts with {' or '.join(schemes)}:// and has no query"
        )
    return url.rstrip("/")
