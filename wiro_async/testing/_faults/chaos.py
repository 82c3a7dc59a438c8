"""Random faults of all kinds, from a seed."""

from collections import Counter
from collections.abc import Callable
from random import Random

import attrs

from wiro_async.testing._faults.http_faults import Cut, Delay, DelayAnswer, HttpFault, ResetAfter, ResetBefore, Respond
from wiro_async.testing._faults.socket_faults import (
    RUBBISH,
    CloseAfterTask,
    Connection,
    DropAfter,
    Forward,
    HalfOpen,
    MuteAfter,
    NoWelcome,
    Outgoing,
    RefuseUpgrade,
    SocketFault,
)

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
BUSY = '{"result":false,"errors":[{"code":0,"message":"Please try again later."}]}'


@attrs.define
class Quirks:
    """Faults of tasks and their files; see `Faults`."""

    detail_lag: float = 0.0
    empty_tasklist: int = 0
    list_lag: float = 0.0
    output_lag: int = 0
    stored_error: bool = False


@attrs.define(eq=False)
class ChaosPlan:
    """Draws faults with the probability `rate`.

    The n-th request to an endpoint, the n-th connection and the n-th task always draw the same fault from the same
    seed, whatever else happens.

    - Request: 429 with Retry-After 0, 502 HTML (handled or not), a 503 envelope, half a JSON body, a reset before or
      after handling, a delay of up to 0.1 s before or after. A file download also: 404, a cut body.
    - Connection: refusal, no welcome, silence after some tokens, a drop, freezing, closing after a task.
    - Message: loss, duplication, delay, swapping with the next, rubbish before it.
    - Task: a lagging Task/Detail, empty lists, hiding from Task/List, missing outputs, a stored `task_error`.
    """

    seed: int
    rate: float = 0.1
    _requests: Counter[str] = attrs.field(factory=Counter[str], init=False)
    _connections: int = attrs.field(default=0, init=False)

    def http(self, endpoint: str) -> HttpFault | None:
        """Return the fault of the next request to this endpoint, if any."""
        kind = "files" if endpoint.startswith("files/") else endpoint
        self._requests[kind] += 1
        dice = self._dice("http", kind, self._requests[kind])
        return dice.choice(_http_faults(dice, kind == "files")) if dice.random() < self.rate else None

    def socket(self) -> list[SocketFault]:
        """Return the faults of the next connection."""
        self._connections += 1
        dice = self._dice("socket", "", self._connections)
        drawn: list[SocketFault] = [Jitter(self.rate, dice.randrange(2**32))]
        if dice.random() < self.rate:
            drawn.append(dice.choice(_socket_faults(dice)))
        return drawn

    def quirks(self, ordinal: int, base: Quirks) -> Quirks:
        """Return the quirks of the n-th task, in addition to `base`."""
        dice = self._dice("task", "", ordinal)
        draws = [dice.random() < self.rate for _ in range(5)]
        return Quirks(
            detail_lag=max(base.detail_lag, 0.2 * draws[0]),
            empty_tasklist=max(base.empty_tasklist, 2 * draws[1]),
            list_lag=max(base.list_lag, 0.2 * draws[2]),
            output_lag=max(base.output_lag, 2 * draws[3]),
            stored_error=base.stored_error or draws[4],
        )

    def _dice(self, kind: str, name: str, ordinal: int) -> Random:
        return Random(f"{self.seed}/{kind}/{name}/{ordinal}")


def _http_faults(dice: Random, is_file: bool) -> list[HttpFault]:
    wait = dice.uniform(0.0, 0.1)
    faults: list[HttpFault] = [
        Respond(429, BUSY, headers={"retry-after": "0"}),
        Respond(502, HTML, "text/html"),
        Respond(503, BUSY),
        ResetBefore(),
        Delay(wait),
        DelayAnswer(wait),
    ]
    if is_file:
        return [*faults, Respond(404, "not there yet", "text/plain"), Cut(dice.randrange(400))]
    answered = Respond(502, HTML, "text/html", handled=True)
    half = Respond(200, '{"result":true,"errors":[],"tas', handled=dice.random() < 0.5)
    return [*faults, answered, half, ResetAfter()]


def _socket_faults(dice: Random) -> list[SocketFault]:
    n = dice.randrange(8)
    return [RefuseUpgrade(), NoWelcome(), MuteAfter(n), DropAfter(n), HalfOpen(n), CloseAfterTask()]


@attrs.frozen
class Jitter:
    """Each message may be lost, duplicated, late, swapped with the next, or have rubbish before it."""

    rate: float
    seed: int

    def wrap(self, connection: Connection, forward: Forward) -> Forward:
        dice = Random(self.seed)

        def lose(message: Outgoing) -> None:
            """Drop the message."""

        def duplicate(message: Outgoing) -> None:
            forward(message)
            forward(message)

        def delay(message: Outgoing) -> None:
            connection.later(dice.uniform(0.0, 0.1), lambda: forward(message))

        def swap(message: Outgoing) -> None:
            connection.later(0.001, lambda: forward(message))

        def litter(message: Outgoing) -> None:
            forward(Outgoing("rubbish", dice.choice(RUBBISH)))
            forward(message)

        kinds: list[Callable[[Outgoing], None]] = [lose, duplicate, delay, swap, litter]

        def send(message: Outgoing) -> None:
            (dice.choice(kinds) if dice.random() < self.rate else forward)(message)

        return send
