"""Which address of a host is connected to, and how long it takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from wiro_async._transport.network.happy_eyeballs import (
    ProxyConnectError,
    connected_socket,
    proxy_socket,
    working_address,
)


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept and close."""
    writer.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give every name these ports of this machine, in their order."""

    def to_ports(*ports: int) -> None:
        infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(infos))

    return to_ports


@pytest.mark.parametrize(
    "dead, seconds",
    [(["deaf"], 0.25), (["deaf"] * 10, 2.5), (["unused"] * 10, 0), (["unused", "deaf", "unused"], 0.25)],
)
async def test_the_next_address_is_tried_soon(
    resolve: Callable[..., None], deaf_port: int, unused_port: int, dead: list[str], seconds: float
) -> None:
    """After a quarter of a second, or at once if one refuses."""
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        good = server.sockets[0].getsockname()[1]
        resolve(*({"deaf": deaf_port, "unused": unused_port}[kind] for kind in dead), good)
        start = anyio.current_time()
        with await connected_socket("host.test", 1) as found:
            assert found.getpeername()[1] == good
        assert seconds <= anyio.current_time() - start + 0.01 < seconds + 0.5
        assert await working_address("host.test", 1) == "127.0.0.1"


async def test_errors_of_all_addresses(resolve: Callable[..., None], unused_port: int) -> None:
    """Equal errors appear once."""
    resolve(unused_port, unused_port)
    with pytest.raises(ConnectionRefusedError):
        await connected_socket("host.test", 1)
    with pytest.raises(ProxyConnectError, match=r"^host\.test:1$") as caught:
        await proxy_socket("host.test", 1)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_one_address_needs_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not connected to in order to find out what is known, and numbers need no resolver."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    assert await working_address("127.0.0.1", 1) == "127.0.0.1"
    assert await working_address("::1", 1) == "::1"
