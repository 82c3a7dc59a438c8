"""The proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), for HTTP and for the socket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wiro_async._errors import ConfigurationError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


def proxy_for(scheme: str, host: str, port: int | None = None) -> str | None:
    """The URL of the proxy for a host, None for a direct connection.

    It may ask the operating system, so call it in a thread.

    Raises:
        ConfigurationError: it is not a URL, or of a kind that needs a transport of the user's own.
    """
    from urllib.request import getproxies, proxy_bypass  # a third of what importing this package would cost

    proxies = getproxies()
    exceptions = proxies.get("no", "").split(",")
    if proxy_bypass(host if port is None else f"{host}:{port}") or _is_excepted(host, port, exceptions):
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


def at_address(proxy: str, address: str, port: int) -> str:
    """The URL of a proxy, with the address of its host instead of its name."""
    parts = urlsplit(proxy)
    user, at, _ = parts.netloc.rpartition("@")
    if at and ":" not in user:
        user += ":"  # an empty password, without which some libraries refuse a name
    return f"{parts.scheme}://{user}{at}{f'[{address}]' if ':' in address else address}:{port}"


def _is_excepted(host: str, port: int | None, exceptions: Sequence[str]) -> bool:
    """Whether NO_PROXY excepts a host in a way that other programs know and Python does not.

    Those are networks such as 10.0.0.0/8, addresses of IPv6 in brackets or written in another way, and *.example.com.
    """
    address = _address(host)
    for entry in (entry.strip().lower() for entry in exceptions):
        name, colon, digits = entry.rpartition(":")
        if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
            if int(digits) != port:
                continue
            entry = name
        if address is None:
            if entry.startswith("*.") and host.lower().endswith(entry[1:]):
                return True
        elif address == _address(entry.strip("[]")) or ("/" in entry and _holds(entry, address)):
            return True
    return False


def _address(text: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import IPv6Address, ip_address

    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _holds(network: str, address: IPv4Address | IPv6Address) -> bool:
    from ipaddress import ip_network

    try:
        return address in ip_network(network.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False


def _variable(scheme: str) -> str:
    """The name of the variable that sets the proxy."""
    names = (f"{scheme}_proxy", "all_proxy")
    variables = (
        variable for name in names for variable, value in os.environ.items() if value and variable.lower() == name
    )
    return next(variables, "this machine's configuration")
