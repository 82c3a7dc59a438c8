"""What compression of the socket saves and costs: bytes on the wire, and the CPU of the side that reads.

    python benchmarks/wire.py [--frames 1000] [--size 100000]

A server in a process of its own sends each load twice, plain and deflated; a reader takes every text, or none.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from importlib import import_module
from typing import Any
from unittest.mock import patch

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve

from wiro_async._transport.network.tls import Tls
from wiro_async._transport.websocket import connected
from wiro_async._tuning import Tuning

texts: Any = import_module("text")  # beside this file

PROGRESS = (
    b'{"type":"task_output","id":"1","tasktoken":"token","message":{"type":"progressGenerate","task":"Generate",'
    b'"percentage":"%d","stepCurrent":"%d","stepTotal":"1000","speed":"1.2","speedType":"it/s","elapsedTime":"%ds"},'
    b'"result":true}'
)


def loads(count: int, size: int) -> dict[str, list[bytes]]:
    prose = texts.TEXTS["accents"]
    return {
        f"answer of {size // 1000} kB": texts.frames(count, size, prose, "lists"),
        "answer of 4 kB": texts.frames(count // 2, 4000, prose, "lists"),
        "progress": [PROGRESS % (number // 10, number, number) for number in range(1000)],
    }


async def send(count: int, size: int) -> None:
    of = loads(count, size)

    async def talk(peer: ServerConnection) -> None:
        assert peer.request is not None
        for frame in of[peer.request.path[1:].replace("_", " ")]:
            await peer.send(frame, text=True)

    async with serve(talk, "127.0.0.1", 0, compression="deflate", max_size=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def read(url: str, compressed: bool, listening: bool) -> tuple[int, float]:
    """Frames and CPU seconds."""
    rig, frames, start = texts.Rig(), 0, time.process_time()
    if not listening:
        rig.tracked.unlisten(rig.buffer)
    async with connected(url, "benchmark", Tls(), compressed, Tuning()) as socket:
        async for frame in socket.frames():
            frames += 1
            rig.socket_feed.deliver(frame)
            if listening:
                rig.tracked.catch_up()
                while rig.buffer._unread:
                    await rig.buffer.next(rig.tracked, 0.0, texts.FOREVER)
    return frames, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, default=100_000, help="bytes of text in the end")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(send(given.frames, given.size))
        return
    received, take = 0, Connection.data_received

    def count(self: Any, data: bytes) -> None:
        nonlocal received
        received += len(data)
        take(self, data)

    command = [sys.executable, __file__, "--serve", "--frames", str(given.frames), "--size", str(given.size)]
    with (
        patch.object(Connection, "data_received", count),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        base = f"ws://127.0.0.1:{server.stdout.readline().strip()}"
        texts.show([("", "", "bytes", "CPU a frame", "nobody reads")])
        for name in loads(1, given.size):
            for compressed in (False, True):
                cells = []
                for listening in (True, False):
                    received = 0
                    frames, seconds = asyncio.run(read(f"{base}/{name.replace(' ', '_')}", compressed, listening))
                    cells.append(f"{1e6 * seconds / frames:.0f} µs")
                texts.show([(name, "deflate" if compressed else "plain", f"{received:,}", *cells)])
        server.stdin.close()


if __name__ == "__main__":
    main()
