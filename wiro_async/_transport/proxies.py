"""The HTTP proxy that the environment asks for (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY)."""

from __future__ import annotations

import os
from urllib.request import getproxies, proxy_bypass

from wiro_async._errors import ConfigurationError


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy for an address, None for a direct connection. May ask the operating system: call it in a thread.

    Raises:
        ConfigurationError: it is of a kind that needs a transport of the user's own.
    """
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None
    kind, separator, _ = proxy.partition("://")
    if not separator:
        return f"http://{proxy}"
    if kind.lower() in ("http", "https"):
        return proxy
    raise ConfigurationError(
        f"{_variable(scheme)} asks for a proxy of the kind {kind}://, which needs a transport of your own: AsyncWiro("
        "transport=httpx.AsyncHTTPTransport(proxy=…)), with httpx[socks] for SOCKS; or set NO_PROXY to go without it"
    )


def _variable(scheme: str) -> str:
    """Who asks for a proxy."""
    names = (f"{scheme}_proxy", "all_proxy")
    variables = (
        variable for name in names for variable, value in os.environ.items() if value and variable.lower() == name
    )
    return next(variables, "this machine's configuration")
