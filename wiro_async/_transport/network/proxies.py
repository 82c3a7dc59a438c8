"""The proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), for HTTP and for the socket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from wiro_async._errors import ConfigurationError


def proxy_for(scheme: str, host: str, port: int | None = None) -> str | None:
    """The URL of the proxy for a host, None for a direct connection.

    It may ask the operating system, so call it in a thread.

    Raises:
        ConfigurationError: it is not a URL, or of a kind that needs a transport of the user's own.
    """
    from urllib.request import getproxies, proxy_bypass  # a third of what importing this package would cost

    proxies = getproxies()
    exceptions = proxies.get("no", "").split(",")
    if proxy_bypass(host if port is None else f"{host}:{port}") or _is_in_a_network(host, exceptions):
        return None
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None
    kind, separator, _ = proxy.partition("://")
    if separator and kind.lower() not in ("http", "https"):
        raise ConfigurationError(
            f"{_variable(scheme)} asks for a proxy of the kind {kind}://, which needs a transport of your own: "
            "AsyncWiro(transport=httpx.AsyncHTTPTransport(proxy=…)), with httpx[socks] for SOCKS; or set NO_PROXY to "
            "go without it"
        )
    return _checked(proxy if separator else f"http://{proxy}", scheme)


def _checked(proxy: str, scheme: str) -> str:
    # Libraries show the parts of a URL that they cannot read, and a part of the password may be among them.
    try:
        parts = urlsplit(proxy)
        is_valid = bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        is_valid = False
    if not is_valid or urlsplit(proxy).path not in ("", "/"):
        raise ConfigurationError(
            f"{_variable(scheme)} is not the URL of a proxy; write it as http://host:port, with name:password@ "
            "before the host where it needs that, and / ? # @ : in these as %2F %3F %23 %40 %3A"
        )
    return proxy


def _is_in_a_network(host: str, exceptions: Sequence[str]) -> bool:
    """Whether NO_PROXY excepts a network that holds this host, such as 10.0.0.0/8."""
    from ipaddress import ip_address, ip_network

    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in exceptions:
        with suppress(ValueError):
            if "/" in entry and address in ip_network(entry.strip(), strict=False):
                return True
    return False


def _variable(scheme: str) -> str:
    """The name of the variable that sets the proxy."""
    names = (f"{scheme}_proxy", "all_proxy")
    variables = (
        variable for name in names for variable, value in os.environ.items() if value and variable.lower() == name
    )
    return next(variables, "this machine's configuration")
