"""An address that accepts connections and says nothing wins the race of addresses once, and then comes last."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import pytest_asyncio
import trustme

from wiro_async import AsyncWiro, RetryPolicy, SubmissionUnknownError, Timeouts, Tuning
from wiro_async._transport.network.silent_addresses import silent_addresses

if TYPE_CHECKING:
    from tests.conftest import Resolve
    from tests.hostile.conftest import Peer, RawWiro

NAME = "two.test"


@attrs.define(eq=False)
class Mute:
    """A server that accepts connections, and answers nothing.

    Attributes:
        heard: what each connection has sent.
    """

    port: int = 0
    heard: list[bytearray] = attrs.field(factory=list[bytearray])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read until the client leaves."""
        self.heard.append(bytearray())
        mine = self.heard[-1]
        try:
            while piece := await reader.read(65536):
                mine += piece
        except OSError:
            pass
        writer.close()


@pytest_asyncio.fixture
async def mute() -> AsyncIterator[Mute]:
    """The first address of the name."""
    server = Mute()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
    silent_addresses.discard(("127.0.0.1", server.port))  # another test may get the port


def named(raw: RawWiro, port: int = 0, tls: str = "", **changes: Any) -> dict[str, Any]:
    """Options for the server by its name."""
    place = f"{NAME}:{port or raw.port}"
    urls = {"base_url": f"http{tls}://{place}/v1", "socket_url": f"ws{tls}://{place}/socket"}
    retry = RetryPolicy(attempts=4, base=0.01, cap=0.02)
    return {**raw.options(), **urls, "retry": retry, **changes}


async def test_a_read_goes_to_the_next_address(raw: RawWiro, mute: Mute, resolve: Resolve) -> None:
    """Its first attempt is lost, and the second one finds the service. Later connections begin there."""
    resolve(mute.port, raw.port)
    raw.make_task("owner/model", {})
    options = named(raw, updates="polling", timeout=Timeouts(request=1.2))
    async with asyncio.timeout(2.9), AsyncWiro(**options) as wiro:
        assert await wiro.tasks.get("1000") is not None
    async with asyncio.timeout(0.9), AsyncWiro(**options) as wiro:
        await wiro.tasks.get("1000")
    assert len(mute.heard) == 1


async def test_a_run_is_not_sent_to_both(raw: RawWiro, mute: Mute, resolve: Resolve) -> None:
    """It left, so only the service's list could show that it was never made: it is searched for at the good address."""
    resolve(mute.port, raw.port)
    options = named(raw, updates="polling", timeout=Timeouts(request=1.2))
    tuning = Tuning(search_grace=0.2, search_pause=0.05)
    async with asyncio.timeout(5), AsyncWiro(**options, tuning=tuning) as wiro:
        with pytest.raises(SubmissionUnknownError):
            await wiro.run("owner/model", {"prompt": "x"})
    assert sum(b"/Run/" in heard for heard in mute.heard) == 1
    assert not raw.runs
    assert "Task/List" in raw.requests


async def test_the_handshake_of_tls_is_made_elsewhere(raw: RawWiro, mute: Mute, resolve: Resolve) -> None:
    """Nothing of a request left before it, so the run is sent to the next address, and made once."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=context) as secure:
        port = secure.sockets[0].getsockname()[1]
        resolve(mute.port, port)
        options = named(raw, port, "s", verify=trust, updates="polling", tuning=Tuning(http_connect=0.4))
        async with asyncio.timeout(4), AsyncWiro(**options) as wiro:
            assert (await wiro.run("owner/model", {"prompt": "x"})).succeeded
        await raw.close()
    assert len(raw.runs) == 1
    assert len(mute.heard) == 1


@pytest.mark.parametrize("tls", ["", "s"], ids=["ws", "wss"])
async def test_the_socket_is_opened_elsewhere(raw: RawWiro, mute: Mute, resolve: Resolve, tls: str) -> None:
    """Its second attempt finds the service."""
    opened = asyncio.Event()

    async def answer(peer: Peer) -> None:
        opened.set()
        await peer.gone()

    raw.routes["socket"] = answer
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    raw.make_task("owner/model", {}, status="task_start", pexit="", outputs=[])
    async with await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=context if tls else None) as other:
        port = other.sockets[0].getsockname()[1]
        resolve(mute.port, port)
        # Only the socket goes by the name.
        options = named(raw, port, tls, verify=trust, base_url=raw.url)
        tuning = Tuning(socket_open=1.1, socket_backoff=0.05)
        async with AsyncWiro(**options, tuning=tuning) as wiro:
            waiting = asyncio.create_task(wiro.task(task_id="1000").result())
            async with asyncio.timeout(2.9):
                await opened.wait()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await raw.close()
    assert len(mute.heard) == 1
