"""Options of the chaos suite, and short timing, so that hundreds of faults fit into seconds."""

import asyncio
import gzip
import json
import os
import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import pytest
from starlette.responses import Response, StreamingResponse

from wiro_async import Tuning
from wiro_async.testing import Call, Connection, Exchange, Forward, HttpFault, Outgoing, Respond, WiroEmulator

if TYPE_CHECKING:
    from tests.conftest import Resolve
    from wiro_async.testing._emulator import ConnectionOptions

BeOdd: TypeAlias = Callable[[WiroEmulator, Random, float], None]
ByName: TypeAlias = "Callable[[WiroEmulator, Random], ConnectionOptions]"

RUNS = int(os.environ.get("WIRO_TEST_CHAOS_RUNS", "2000"))
RUNS_PER_SESSION = 250
FIRST_SEED = 1
CHAOS_TIMING = Tuning(
    search_grace=2.0,
    search_pause=0.05,
    search_max_pause=0.2,
    poll_first=0.1,
    poll_silence=0.2,
    poll_max_silence=1.0,
    poll_min=0.05,
    poll_max=0.5,
    poll_confirm=0.05,
    refusal_grace=0.5,
    refusal_grace_known=5.0,
    window_own_probe=0.5,
    window_other_probe=0.1,
    window_other_probe_max=1.0,
    socket_backoff=0.02,
    socket_max_backoff=0.5,
    socket_close=0.2,
    socket_ping=2.0,
    stop_pause=0.05,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options: `pytest tests/chaos --chaos-runs 20000 --chaos-seed 7`. They exist only for this folder."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-runs", type=int, help=f"number of runs of the chaos suite ({RUNS})")
    group.addoption("--chaos-seed", type=int, help=f"the seed of its first session ({FIRST_SEED})")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each session: consecutive seeds with some hundred runs each, and seeds that once failed."""
    if "chaos_seed" in metafunc.fixturenames:
        runs = metafunc.config.getoption("chaos_runs", None) or RUNS
        first = metafunc.config.getoption("chaos_seed", None) or FIRST_SEED
        sizes = [min(RUNS_PER_SESSION, runs - done) for done in range(0, runs, RUNS_PER_SESSION)]
        sessions = [(first + number, size) for number, size in enumerate(sizes)]
        if first == FIRST_SEED:
            sessions += getattr(metafunc.module, "REGRESSIONS", [])
        metafunc.parametrize("chaos_seed, chaos_runs", sessions)


@pytest.fixture
def base_timing() -> Tuning:
    """Short timing, so that hundreds of faults fit into seconds."""
    return CHAOS_TIMING


@attrs.frozen
class Chatter:
    """After each message, repeat one without content, or a false report of the end."""

    false_ends: bool

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        """Send more messages for a while."""

        def send(message: Outgoing) -> None:
            forward(message)
            if message.ordinal >= 0 and not message.binary:
                kind = "task_postprocess_end" if self.false_ends else "task_heartbeat"
                body = {**json.loads(message.payload), "type": kind, "message": []}
                chat = Outgoing(kind, json.dumps(body).encode(), ordinal=message.ordinal)
                for number in range(1, 6):
                    connection.later(0.02 * number, partial(forward, chat))

        return send


@attrs.frozen
class WithoutIds:
    """The event stream of a run starts with an event without ids."""

    async def apply(self, exchange: Exchange) -> None:
        """Empty the first event."""
        response = await exchange.handle()
        if isinstance(response, StreamingResponse):
            response.body_iterator = _anonymous(response.body_iterator)
        await exchange.answer(response)


async def _anonymous(chunks: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield "event: start\ndata: {}\n\n" if "event: start" in str(chunk) else chunk


@attrs.frozen
class BadBytes:
    """The log of a task holds bytes that are no UTF-8."""

    async def apply(self, exchange: Exchange) -> None:
        """Change the response's bytes."""
        response = await exchange.handle()
        body = bytes(response.body).replace(b'"debugoutput":"', b'"debugoutput":"caf\xe9 ')
        await exchange.answer(Response(body, response.status_code, media_type="application/json"))


@attrs.frozen
class HeaderFlood:
    """The response has more headers than anybody needs."""

    async def apply(self, exchange: Exchange) -> None:
        """Add headers of 100 KB."""
        response = await exchange.handle()
        for number in range(100):
            response.headers[f"x-flood-{number}"] = "x" * 1000
        await exchange.answer(response)


@attrs.frozen
class Drip:
    """The body comes one byte at a time, and would take minutes."""

    async def apply(self, exchange: Exchange) -> None:
        """Send a byte every tenth of a second, until the client leaves."""
        response = await exchange.handle()
        start = {"type": "http.response.start", "status": response.status_code}
        await exchange.write({**start, "headers": response.raw_headers})
        for byte in bytes(response.body)[:40]:
            await exchange.write({"type": "http.response.body", "body": bytes((byte,)), "more_body": True})
            await asyncio.sleep(0.1)
        await exchange.hang_up(reset=False)


@attrs.frozen
class OtherRows:
    """The list shows tasks of others: one made just now, and old ones that look like tasks of this account."""

    async def apply(self, exchange: Exchange) -> None:
        """Add rows to the list."""
        response = await exchange.handle()
        body = json.loads(bytes(response.body))
        rows = body.get("tasklist") or []
        for number, row in enumerate(rows[:3]):
            made = str(int(row["createtime"]) - 600)
            rows.append({**row, "id": str(number + 1), "socketaccesstoken": f"old-{number}", "createtime": made})
        if rows:
            foreign = {"prompt": "a picture of somebody else"}
            # Ids run upward, so the next free ones belong to the tasks that this account makes next.
            rows.insert(0, {**rows[0], "id": "999", "socketaccesstoken": "foreign", "parameters": foreign})
        await exchange.answer(Response(json.dumps(body), response.status_code, media_type="application/json"))


BOMB = gzip.compress(bytes(80 * 1024 * 1024))
ODD: tuple[HttpFault, ...] = (
    Respond(200, '{"result":false,"errors":[{"code":0,"message":"Internal server error"}]}'),
    Respond(200, '{"result":false,"errors":[{"code":1,"message":"task-not-exist"}]}'),
    Respond(200, '{"result":false,"errors":[]}'),
    Respond(401, '{"result":false,"errors":[{"code":99,"message":"expired"}]}'),
    Respond(403, '{"error":"forbidden"}'),
    Respond(302, "{}"),
    Respond(200, BOMB, headers={"content-encoding": "gzip"}),
    Respond(200, bytes(range(128, 256)) * 4),
    BadBytes(),
    HeaderFlood(),
    Drip(),
)
SKEWS = (0.0, 0.0, 0.0, 3600.0, -3600.0, 7 * 3600.0)  # seconds by which the service's clock is ahead


def _be_odd(emulator: WiroEmulator, dice: Random, rate: float) -> None:
    """Add odd responses of Task/Detail, odd lists and clocks, streams without ids, and sockets that send too much."""

    def rarely(call: Call) -> bool:
        return dice.random() < rate / len(ODD)

    for odd in ODD:
        emulator.faults.http("Task/Detail", odd, times=None, when=rarely)
    emulator.faults.clock_skew = dice.choice(SKEWS)
    emulator.faults.http("Task/List", OtherRows(), times=None, when=lambda call: dice.random() < 0.5)
    emulator.faults.http("Run/*", WithoutIds(), None, when=lambda call: "sync" in call.path and dice.random() < 0.3)
    if dice.random() < 0.5:
        emulator.faults.socket(Chatter(false_ends=dice.random() < 0.5))


@pytest.fixture
def be_odd() -> BeOdd:
    """A function that makes a service behave oddly, beyond the faults of single requests."""
    return _be_odd


NAME = "emulator.test"
# What lies before the emulator among the addresses of its name.
DEAD = ((), ("silent",), ("refusing",), ("mute",), ("mute", "silent"), ("refusing", "mute", "mute"))


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A host that accepts connections, and answers nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        yield listening.getsockname()[1]


@pytest.fixture
def by_name(resolve: "Resolve", deaf_port: int, unused_port: int, mute_port: int) -> ByName:
    """A function that returns the options of a session that finds the emulator by a name, behind dead addresses."""
    ports = {"silent": deaf_port, "refusing": unused_port, "mute": mute_port}

    def options(emulator: WiroEmulator, dice: Random) -> "ConnectionOptions":
        found = emulator.options()
        port = urlsplit(found["base_url"]).port
        assert port is not None
        resolve(*(ports[kind] for kind in dice.choice(DEAD)), port, name=NAME)
        found["base_url"] = found["base_url"].replace("127.0.0.1", NAME)
        found["socket_url"] = found["socket_url"].replace("127.0.0.1", NAME)
        return found

    return options
