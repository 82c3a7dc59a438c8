"""The options of a session, from its arguments and the environment."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict

import attrs

from wiro_async._api.journal.store_places import place_of
from wiro_async._api.options import check_options
from wiro_async._errors import ConfigurationError
from wiro_async._protocol.http.auth import Credentials
from wiro_async._protocol.http.retry import RetryPolicy
from wiro_async._protocol.values.parsing import parse_url
from wiro_async._public import public
from wiro_async._redaction import strip_userinfo
from wiro_async._tuning import Tuning
from wiro_async._types import CallbackURL, OnUnknown, Timeouts, UpdateMode, merge_timeouts
from wiro_async._version import __version__

if TYPE_CHECKING:
    from wiro_async._transport.http.library import Transport
    from wiro_async._transport.network.tls import Verify

BASE_URL = "https://api.wiro.ai/v1"
SOCKET_URL = "wss://socket.wiro.ai/v1"
USER_AGENT = f"wiro-async/{__version__} python/{platform.python_version()}"
MAX_DOWNLOAD = 10 * 1024**3  # an hour of video in 4K
MODES = ("auto", "websocket", "polling", "sse")


class CallOptions(TypedDict, total=False):
    """Options that a session has, and that a view may change.

    Args:
        headers: sent with every call to the API, for instance to a proxy of yours that adds the key. Those of a view
            are added to the session's.
        updates: how runs are followed: "auto" (by WebSocket, else by polling), "websocket", "polling", or "sse" (each
            run's own response is an event stream; if it breaks, as "auto").
        timeout: seconds for each run, or `Timeouts`.
        retry: how idempotent calls are retried. A run is never repeated by it.
        on_unknown: "raise" raises `SubmissionUnknownError` for a run whose response was lost and whose task was not
            found. "resubmit" sends the run again, which may be billed twice.
        validate: True checks every input by the model's own parameters before it is sent, and sends values in the form
            the model wants. The session asks for the parameters once for each model.
        max_download_bytes: the largest size of one output that is read, streamed or saved; 10 GiB by default.
        allow_private: False refuses to download from addresses of this machine and of private networks, also after a
            redirect: for web apps that download from URLs of their users. Calls to the API are not affected.
        callback_url: where the service reports the ends of all runs that have no URL of their own; or a function that
            returns a URL for each run, such as `receiver.at("https://my.app/wiro")`. Runs that report to a
            `WebhookReceiver` of this session are waited for without a socket.
    """

    headers: Mapping[str, str] | None
    updates: UpdateMode | None
    timeout: float | Timeouts | None
    retry: RetryPolicy | None
    on_unknown: OnUnknown | None
    validate: bool | None
    max_download_bytes: int | None
    allow_private: bool | None
    callback_url: CallbackURL | None


@public
class ViewOptions(CallOptions, total=False):
    """Options of `AsyncWiro.with_options`.

    Args:
        api_key, api_secret: another key. It is used without a secret if none is given.
    """

    api_key: str | None
    api_secret: str | None


@public
class SessionOptions(CallOptions, total=False):
    """Options of `AsyncWiro`.

    Args:
        base_url, socket_url: from WIRO_API_BASE_URL and WIRO_SOCKET_URL if not given, else the service's own.
        max_concurrency: how many tasks may be in flight. If not given, the session learns it from the service.
        verify: the certificates to trust, for HTTP and WebSocket: True for the usual authorities (or those of
            SSL_CERT_FILE and SSL_CERT_DIR), the path of a file or directory of certificates for those and no others, an
            `ssl.SSLContext` of your own, or False to trust every server.
        transport: an async transport of httpx or httpx2, instead of the default one. It is closed with the session.
        compression: whether the WebSocket compresses: 7 to 20 times fewer bytes for texts of LLMs, at up to twice the
            processor time where they are read and four times where they are not. Useful for long answers on slow
            networks.
        tasks_per_socket: how many tasks share one WebSocket.
        polls_per_second: how many reads of tasks all polls together make at most. The first read after a task has
            reported its end does not count.
        journal: where runs with a `key`, and batches with `journal=True`, are recorded: the path of a SQLite file that
            one session at a time uses, or the URL of a PostgreSQL database that any number of machines may share.
        tuning: timing, sizes and limits of the session, for tests that cannot wait.
    """

    base_url: str | None
    socket_url: str | None
    max_concurrency: int | None
    verify: Verify
    transport: Transport | None
    compression: bool
    tasks_per_socket: int
    polls_per_second: float
    journal: str | os.PathLike[str] | None
    tuning: Tuning | None


def _one_of(*allowed: str) -> Any:
    """Anything else is refused: it must not be taken for the permission to do something."""

    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in allowed:
            raise ConfigurationError(
                f"{attribute.name} is {value!r}; give {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
            )

    return check


def _count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigurationError(f"{attribute.name} is {value!r}; give a whole number above 0")


def _rate(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"{attribute.name} is {value!r}; give a number above 0")


def _flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} is {value!r}; give True or False")


def _retry_policy(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, RetryPolicy):
        kind = type(value).__name__
        raise ConfigurationError(f"retry is a {kind}; give a RetryPolicy, such as RetryPolicy(attempts=3)")


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers that HTTP can carry. Errors do not show their values."""
    given: Iterable[tuple[object, object]] = dict(headers or {}).items()
    for name, value in given:
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"the header {name!r} has a {type(value).__name__} as its value; give text")
    return dict(headers or {})


def _timeouts(timeout: float | Timeouts | None) -> Timeouts:
    return merge_timeouts(timeout, Timeouts())


def _retry(retry: RetryPolicy | None) -> RetryPolicy:
    return RetryPolicy() if retry is None else retry


def _max_download(given: int | None) -> int:
    return MAX_DOWNLOAD if given is None else given


def _allowed(given: bool | None) -> bool:
    return True if given is None else given


def _tuning(tuning: Tuning | None) -> Tuning:
    return tuning or Tuning()


def _base_url(given: str | None) -> str:
    return _url(given, "WIRO_API_BASE_URL", BASE_URL, ("http", "https"))


def _socket_url(given: str | None) -> str:
    return _url(given, "WIRO_SOCKET_URL", SOCKET_URL, ("ws", "wss"))


@attrs.frozen(kw_only=True)
class Options:
    """The checked options of a session or a view. Raises `ConfigurationError`."""

    credentials: Credentials
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False, converter=_headers)
    updates: UpdateMode = attrs.field(default="auto", validator=_one_of(*MODES))
    timeout: Timeouts = attrs.field(factory=Timeouts, converter=_timeouts)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, converter=_retry, validator=_retry_policy)
    on_unknown: OnUnknown = attrs.field(default="raise", validator=_one_of("raise", "resubmit"))
    validate: bool = attrs.field(default=False, validator=_flag)
    max_download_bytes: int = attrs.field(default=None, converter=_max_download, validator=_count)
    allow_private: bool = attrs.field(default=True, converter=_allowed, validator=_flag)
    callback_url: CallbackURL | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(cls, credentials: Credentials, options: Mapping[str, Any]) -> Self:
        """Take those of the options that a view may change, too."""
        return cls(
            credentials=credentials, **{name: options[name] for name in options if name in CallOptions.__annotations__}
        )

    def changed(self, changes: ViewOptions) -> Options:
        """Copy the options with some changes. None leaves an option as it is."""
        check_options("with_options", changes, ViewOptions, ConfigurationError)
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        api_key, api_secret = given.pop("api_key", None), given.pop("api_secret", None)
        if api_key or api_secret:  # another key is used without the old secret, another secret with the old key
            given["credentials"] = _credentials(api_key or self.credentials.api_key, api_secret)
        if "headers" in given:
            given["headers"] = {**self.headers, **_headers(given["headers"])}
        if "timeout" in given:
            given["timeout"] = merge_timeouts(given["timeout"], self.timeout)
        return attrs.evolve(self, **given)


@attrs.frozen(kw_only=True)
class SharedOptions:
    """The checked options that a session shares with all its views. Raises `ConfigurationError`."""

    base_url: str = attrs.field(default=None, converter=_base_url)
    socket_url: str = attrs.field(default=None, converter=_socket_url)
    max_concurrency: int | None = attrs.field(default=None, validator=_count)
    verify: Verify = True
    transport: Transport | None = None
    compression: bool = False
    tasks_per_socket: int = attrs.field(default=1000, validator=_count)
    polls_per_second: float = attrs.field(default=100.0, validator=_rate)
    journal: str | Path | None = attrs.field(default=None, converter=attrs.converters.optional(place_of), repr=False)
    tuning: Tuning = attrs.field(default=None, converter=_tuning)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Take those of the options that no view may change."""
        return cls(**{name: value for name, value in options.items() if name not in CallOptions.__annotations__})


def credentials(api_key: str | None, api_secret: str | None, has_headers: bool) -> Credentials:
    """Take the keys from the arguments, else from the environment. Raises `ConfigurationError` if there are none."""
    api_key = api_key or os.environ.get("WIRO_API_KEY") or None
    api_secret = api_secret or os.environ.get("WIRO_API_SECRET") or None
    if api_key is None and not has_headers:
        raise ConfigurationError(
            "no API key: set WIRO_API_KEY (and WIRO_API_SECRET if your project asks for signatures), "
            "or give AsyncWiro(api_key=…, api_secret=…); behind a proxy of your own that adds the key, give headers=…"
        )
    return _credentials(api_key, api_secret)


def next_url(source: CallbackURL | None) -> str | None:
    return source() if callable(source) else source


def _credentials(api_key: str | None, api_secret: str | None) -> Credentials:
    if api_key is None and api_secret is not None:
        raise ConfigurationError("WIRO_API_SECRET is set but WIRO_API_KEY is not: a signature needs both")
    given: Iterable[tuple[str, object]] = (("WIRO_API_KEY", api_key), ("WIRO_API_SECRET", api_secret))
    for name, value in given:
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name} (or api_key, api_secret) is of type {type(value).__name__}; give text")
        if value is not None and not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ConfigurationError(f"{name} holds white space or characters that a header cannot carry")
    return Credentials(api_key, api_secret)


def _url(given: str | None, variable: str, default: str, schemes: tuple[str, str]) -> str:
    url = given or os.environ.get(variable) or default
    parts = parse_url(url, schemes)
    if parts is None or parts.query or parts.fragment:
        shown = strip_userinfo(str(url).partition("?")[0].partition("#")[0])
        raise ConfigurationError(
            f"{variable} is {shown!r}; give a URL that starts with {' or '.join(schemes)}:// and has no query"
        )
    return url.rstrip("/")
