"""Connects to a host that has several addresses (RFC 8305), for HTTP and for the WebSocket alike.

The first address of a name may be dead, such as an IPv6 address behind a network without IPv6. A client that tries one
address after the other waits for its timeout. So the next address is tried as well after a quarter of a second, or at
once if one refuses, and the first that accepts wins. One that accepted lately and then said nothing comes last. The
loop's `create_connection` can do a race, but not every loop's (uvloop), and cancelled at the end it forgets to close
the socket.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from itertools import zip_longest

from wiro_async._transport import threads
from wiro_async._transport.network.addresses import public_only_of
from wiro_async._transport.network.silent_addresses import AddressInfo, silent_addresses

DELAY = 0.25  # seconds; then the host's next address is tried as well


class ProxyConnectError(OSError):
    """The proxy could not be connected to. Its text is the proxy's host and port."""


async def proxy_socket(host: str, port: int) -> socket.socket:
    """Connect to a proxy, as `connected_socket` does. Raises `ProxyConnectError`."""
    try:
        return await connected_socket(host, port)
    except (OSError, ValueError) as error:
        raise ProxyConnectError(f"{host}:{port}") from error


async def connected_socket(host: str, port: int, *, public_only: bool = False) -> socket.socket:
    """Connect to the first address of a host that accepts. Cancelling leaves no socket open.

    Args:
        public_only: whether addresses of this machine and of private networks are left out.

    Raises:
        PrivateAddressError: it has no others.
        OSError: the name has no address, or all of its addresses failed.
        ValueError: the name cannot be looked up.
    """
    infos = await _addresses(host, port)
    return await _race(public_only_of(infos) if public_only else infos)


async def working_address(host: str, port: int) -> str:
    """The address of a proxy that accepts connections, for a library that opens them itself.

    The connection that found it out is closed. Where there is only one address, there is nothing to find out.

    Raises:
        ProxyConnectError: there is none.
    """
    try:
        infos = await _addresses(host, port)
        if len(infos) == 1:
            return str(infos[0][4][0])
        with await _race(infos) as found:
            return str(found.getpeername()[0])
    except (OSError, ValueError) as error:
        raise ProxyConnectError(f"{host}:{port}") from error


async def _race(infos: list[AddressInfo]) -> socket.socket:
    if len(infos) == 1:
        return await _connect(infos[0])
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        while True:
            pending = [attempt for attempt in attempts if not attempt.done()]
            if infos:
                pending.append(asyncio.create_task(_connect(infos.pop(0))))
                attempts.append(pending[-1])
            if not pending:
                first, *others = [error for attempt in attempts if (error := _failure(attempt)) is not None]
                texts = dict.fromkeys(map(str, (first, *others)))
                raise first if len(texts) == 1 else OSError("; ".join(texts))
            wait = DELAY if infos else None
            done, _ = await asyncio.wait(pending, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if _failure(attempt) is None:
                    winner = attempt.result()
                    return winner
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(partial(_close_unless, winner))


async def _addresses(host: str, port: int) -> list[AddressInfo]:
    """Look up a host: its addresses as the system sorts them, both families in turn, the silent ones last."""
    from ipaddress import ip_address  # not needed to open a session

    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        family = None
    if family is not None and "%" not in host:  # an address needs no resolver, which would take a thread
        return [(family, socket.SOCK_STREAM, 0, "", (host, port))]
    found = await threads.run(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM, kind="lookups")
    own = [info for info in found if info[0] == found[0][0]]
    other = [info for info in found if info[0] != found[0][0]]
    return silent_addresses.put_last([info for pair in zip_longest(own, other) for info in pair if info is not None])


async def _connect(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _failure(attempt: asyncio.Task[socket.socket]) -> BaseException | None:
    # Somebody may cancel every task of the loop, and then try again in the one that waits for this.
    return ConnectionAbortedError("it was given up") if attempt.cancelled() else attempt.exception()


def _close_unless(winner: socket.socket | None, attempt: asyncio.Task[socket.socket]) -> None:
    if _failure(attempt) is None and attempt.result() is not winner:
        attempt.result().close()
