"""Which addresses belong to the internet, and which to this machine or its own network.

A web app that downloads from URLs of its users must not fetch from its own network for them. A name proves nothing: it
may resolve to any address, and to another one at the next look. So the addresses are checked that a connection is about
to be made to, in whichever way the URL writes them.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, TypeAlias

Found: TypeAlias = tuple[Any, ...]  # what getaddrinfo gives: family, kind, protocol, name, address
NAT64: Final = IPv6Network("64:ff9b::/96")
COMPATIBLE: Final = IPv6Network("::/96")


class PrivateAddressError(OSError):
    """A host has private addresses only."""


def is_public(address: str) -> bool:
    """Whether an address, as a resolver gives it, belongs to the internet. False for multicast, too."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast


def public_only_of(found: Sequence[Found]) -> list[Found]:
    """The public ones of the addresses that a resolver found. Raises `PrivateAddressError` if there are none."""
    public = [info for info in found if is_public(str(info[4][0]))]
    if not public:
        raise PrivateAddressError(f"its address {found[0][4][0]} is private")
    return public


def check_host(host: str, *, resolve: bool) -> None:
    """Check a host whose connection is made by others. It blocks, so call it in a thread.

    Args:
        resolve: whether to look up names. Otherwise only addresses are checked, however they are written.

    Raises:
        PrivateAddressError: it has a private address.
    """
    try:
        found = socket.getaddrinfo(host, None, flags=0 if resolve else socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return  # a name, or one that cannot be reached anyway
    if len(public_only_of(found)) < len(found):  # the other side may choose any of them
        raise PrivateAddressError("one of its addresses is private")


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if ip.ipv4_mapped is not None or ip.sixtofour is not None:
        return ip.ipv4_mapped or ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if ip in NAT64 or (ip in COMPATIBLE and int(ip) > 1):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
