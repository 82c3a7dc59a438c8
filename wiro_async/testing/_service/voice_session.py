"""Realtime sessions: audio in both directions on one connection."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import attrs

from wiro_async.testing._json import Json
from wiro_async.testing._scripts import CLOSING, Step, Voice, evenly
from wiro_async.testing._service.emulated_task import EmulatedTask
from wiro_async.testing._service.player import Player

SAMPLE_RATE = 24_000
FRAME_BYTES = 9_600


@attrs.define(eq=False)
class PlayedSession:
    """The realtime session of one task on one connection: the `VoiceSession` of its voice."""

    _player: Player
    _send: Callable[[bytes], None]
    turns: int = 0
    _voice: Voice = attrs.field(init=False)
    _began: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        assert self.task.script.realtime is not None
        self._voice = self.task.script.realtime(self)

    @property
    def task(self) -> EmulatedTask:
        return self._player.task

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The parameters of the task."""
        return self.task.parameters

    def begin(self) -> None:
        """Begin to speak: the session is ready and a client has registered for it."""
        if self._is_open and not self._began:
            self._began = True
            self._voice.begin()

    def hear(self, pcm: bytes) -> None:
        """Pass received audio to the voice. Audio that arrives before the session is ready is lost."""
        if self._began and self._is_open:
            self._voice.hear(pcm)

    def interrupt(self) -> None:
        """Interrupt the voice, as the client asks."""
        if self._began and self._is_open:
            self._voice.interrupt()

    def end(self) -> None:
        """End the session: the client asks for it, or its connection is closed."""
        if self._is_open:
            if self._began:
                self._voice.end()
            self.finish()

    def finish(self) -> None:
        """Close the session. The task then plays its closing steps."""
        if self._is_open:
            self._ended = True
            self._player.extend(evenly(0.1, [Step(stage) for stage in CLOSING]))

    def say(self, pcm: bytes) -> None:
        """Send audio."""
        self._send(pcm)

    def transcribe(self, who: Literal["USER", "AI"], text: str) -> None:
        """Send the transcript of what the user or the model said."""
        self._player.emit(Step("task_output", f"TRANSCRIPT_{who}:{text}", log=f"{who}: {text}\n"))

    def end_turn(self, cost: Decimal) -> None:
        """Send the end of a turn and its cost."""
        self.turns += 1
        total = self.task.add_cost(cost)
        usage: dict[str, Json] = {
            "input_tokens": 10 * self.turns,
            "output_tokens": 10 * self.turns,
            "total_tokens": 20 * self.turns,
        }
        costs = {"turnCost": str(cost), "cumulativeCost": str(total)}
        self._player.emit(Step("task_stream_end"))
        self._player.emit(Step("task_cost", extra={**costs, "usage": usage}))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a function after some seconds of the emulator's time, if the session is still open then."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds / self._player.speed, lambda: action() if self._is_open else None)

    def emit(self, step: Step) -> None:
        """Send any other message."""
        self._player.emit(step)

    @property
    def _is_open(self) -> bool:
        return not self._ended and not self.task.over
