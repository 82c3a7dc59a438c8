"""Realtime sessions: audio both ways on one connection, and what a model's voice may do in one."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import attrs

from wiro_async.testing._records import Json
from wiro_async.testing._scripts import CLOSING, Step, evenly
from wiro_async.testing._service.emulated_task import EmulatedTask
from wiro_async.testing._service.player import Player

SAMPLE_RATE = 24_000
FRAME_BYTES = 9_600


@attrs.define(eq=False)
class VoiceSession:
    """One task's session on one connection, as its voice sees it."""

    task: EmulatedTask
    _player: Player
    _send: Callable[[bytes], None]
    turns: int = 0
    _voice: "Voice" = attrs.field(init=False)
    _began: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        assert self.task.script.realtime is not None
        self._voice = self.task.script.realtime(self)

    def begin(self) -> None:
        """The session is ready, and somebody has registered for it."""
        if self._is_open and not self._began:
            self._began = True
            self._voice.begin()

    def hear(self, pcm: bytes) -> None:
        """Audio came; before the session is ready it is lost."""
        if self._began and self._is_open:
            self._voice.hear(pcm)

    def interrupt(self) -> None:
        """The client wants silence."""
        if self._began and self._is_open:
            self._voice.interrupt()

    def end(self) -> None:
        """The client wants the end, or is gone."""
        if self._is_open:
            if self._began:
                self._voice.end()
            self.finish()

    def finish(self) -> None:
        """Close the session: the task goes on to its end."""
        if self._is_open:
            self._ended = True
            self._player.extend(self.task, evenly(0.1, [Step(stage) for stage in CLOSING]))

    def say(self, pcm: bytes) -> None:
        """Send audio."""
        self._send(pcm)

    def transcribe(self, who: Literal["USER", "AI"], text: str) -> None:
        """Tell what was said."""
        self._player.emit(self.task, Step("task_output", f"TRANSCRIPT_{who}:{text}", log=f"{who}: {text}\n"))

    def end_turn(self, cost: Decimal) -> None:
        """Tell that this turn is over, and what it cost."""
        self.turns += 1
        total = self.task.script.cost + cost
        self.task.script = attrs.evolve(self.task.script, cost=total)
        told = {"turnCost": str(cost), "cumulativeCost": str(total)}
        usage: dict[str, Json] = {
            "input_tokens": 10 * self.turns,
            "output_tokens": 10 * self.turns,
            "total_tokens": 20 * self.turns,
        }
        self._player.emit(self.task, Step("task_stream_end"))
        self._player.emit(self.task, Step("task_cost", extra={**told, "usage": usage}))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after so many seconds of the emulator's time, if the session is still open then."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds / self._player.speed, lambda: action() if self._is_open else None)

    def emit(self, step: Step) -> None:
        """Send any other message."""
        self._player.emit(self.task, step)

    @property
    def _is_open(self) -> bool:
        return not self._ended and not self.task.over


@attrs.define(eq=False)
class Voice:
    """What a realtime model does. Subclass it and give the class to a script: `Script(…, realtime=MyVoice)`."""

    line: VoiceSession

    def begin(self) -> None:
        """The session is ready."""

    def hear(self, pcm: bytes) -> None:
        """A frame of audio came."""

    def interrupt(self) -> None:
        """The client wants silence."""
        self.line.emit(Step("task_stream_end"))

    def end(self) -> None:
        """The last words before the session is closed."""
