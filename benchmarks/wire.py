"""The compression of the WebSocket: bytes on the wire, and CPU time of the reader.

    python benchmarks/wire.py [--frames 1000] [--size 100000]

A server in its own process sends each load plain and deflated. A reader takes every text, or none.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from unittest.mock import patch

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

from harness import parser, served, show
from text import TEXTS, Rig, frames
from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import connected
from wiro_async._tuning import Tuning

PROGRESS = (
    b'{"type":"task_output","id":"1","tasktoken":"token","message":{"type":"progressGenerate","task":"Generate",'
    b'"percentage":"%d","stepCurrent":"%d","stepTotal":"1000","speed":"1.2","speedType":"it/s","elapsedTime":"%ds"},'
    b'"result":true}'
)


def loads(count: int, size: int) -> dict[str, list[bytes]]:
    prose = TEXTS["accents"]
    return {
        f"answer of {size // 1000} kB": frames(count, size, prose, "lists"),
        "answer of 4 kB": frames(count // 2, 4000, prose, "lists"),
        "progress": [PROGRESS % (number // 10, number, number) for number in range(1000)],
    }


async def send(count: int, size: int) -> None:
    of = loads(count, size)

    async def talk(peer: ServerConnection) -> None:
        assert peer.request is not None
        for frame in of[peer.request.path[1:].replace("_", " ")]:
            await peer.send(frame, text=True)

    async with serve(talk, "127.0.0.1", 0, compression="deflate", max_size=None) as server:
        print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def read(url: str, compressed: bool, listening: bool) -> tuple[int, float]:
    """Return the number of frames, and the CPU seconds."""
    rig, count, start = Rig("events" if listening else "wait"), 0, 0.0
    async with connected(url, "benchmark", Tls(), compressed, Tuning()) as socket:
        async for frame in socket.frames():
            if not count:
                await rig.start(frame)
                start = time.process_time()
            count += 1
            rig.feed.deliver(frame)
            if listening:
                await rig.read_all()
    seconds = time.process_time() - start
    await rig.aclose()
    return count, seconds


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=1000)
    arguments.add_argument("--size", type=int, default=100_000, help="final size of the text in bytes")
    arguments.add_argument("--serve", action="store_true", help="only serve the loads")
    given = arguments.parse_args()
    if given.serve:
        asyncio.run(send(given.frames, given.size))
        return
    received, take = 0, Connection.data_received

    def count(self: Any, data: bytes) -> None:
        nonlocal received
        received += len(data)
        take(self, data)

    command = (__file__, "--serve", "--frames", str(given.frames), "--size", str(given.size))
    table: list[tuple[str, ...]] = [("", "bytes", "CPU a frame", "nobody reads")]
    with patch.object(Connection, "data_received", count), served(*command) as options:
        base = f"ws://127.0.0.1:{options['port']}"
        for name in loads(1, given.size):
            for compressed in (False, True):
                cells: list[str] = []
                for listening in (True, False):
                    received = 0
                    number, seconds = asyncio.run(read(f"{base}/{name.replace(' ', '_')}", compressed, listening))
                    cells.append(f"{1e6 * seconds / number:.0f} µs")
                table.append((f"{name}, {'deflate' if compressed else 'plain'}", f"{received:,}", *cells))
    show("one load over the WebSocket", table)


if __name__ == "__main__":
    main()
