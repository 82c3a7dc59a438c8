"""Realtime sessions: audio comes in, the same audio goes out, and every second of it is a turn."""

from decimal import Decimal

import attrs

from ._player import Player
from ._records import Json
from ._scripts import CLOSING, OPENING, ModelScript, RunInput, Script, Step, evenly
from ._server import SocketConnection
from ._tasks import EmulatedTask

CHUNKS_A_TURN = 5
TURN_COST = Decimal("0.002")


@attrs.define(eq=False)
class RealtimeSession:
    """One task's session on one connection."""

    task: EmulatedTask
    player: Player
    connection: SocketConnection
    chunks: int = 0
    ended: bool = False

    def hear(self, frame: bytes) -> None:
        """Take a frame `token|audio`, say it back; a full turn also says what it heard and what it cost."""
        if self.ended or self.task.over:
            return
        self.connection.push(frame, binary=True)
        self.chunks += 1
        if self.chunks % CHUNKS_A_TURN == 0:
            self._finish_turn(self.chunks // CHUNKS_A_TURN)

    def interrupt(self) -> None:
        """Stop speaking."""
        self.player.emit(self.task, Step("task_stream_end"))

    def end(self) -> None:
        """Close the session: the task goes on to its end."""
        if not self.ended and not self.task.over:
            self.ended = True
            self.player.extend(self.task, evenly(0.1, [Step(stage) for stage in CLOSING]))

    def _finish_turn(self, turn: int) -> None:
        told = {"turnCost": str(TURN_COST), "cumulativeCost": str(TURN_COST * turn)}
        usage: dict[str, Json] = {
            "input_tokens": 10 * turn,
            "output_tokens": 10 * turn,
            "total_tokens": 20 * turn,
        }
        self.task.script = attrs.evolve(self.task.script, cost=TURN_COST * turn)
        self.player.emit(self.task, Step("task_output", f"TRANSCRIPT_USER:This was turn {turn}."))
        self.player.emit(self.task, Step("task_output", f"TRANSCRIPT_AI:I heard turn {turn}."))
        self.player.emit(self.task, Step("task_stream_end"))
        self.player.emit(self.task, Step("task_cost", extra={**told, "usage": usage}))


def _echo(given: RunInput) -> Script:
    opening = [Step(stage) for stage in OPENING]
    opening.append(Step("task_stream_ready", stored=True))
    return Script(evenly(given.number("seconds", 1.0), opening), cost=Decimal(0), realtime=True)


ECHO = ModelScript(
    "emulator/echo",
    _echo,
    tool={
        "id": "618",
        "title": "Echo",
        "description": "Says back what it hears, until the session is ended. Ready after `seconds`.",
        "categories": ["realtime"],
        "dynamicprice": '[{"inputs":{},"price":0.002,"priceMethod":"cp-realtimeturn"}]',
    },
)
