"""The realtime models: an echo (voice), a tone (text to speech) and one that counts (speech to text)."""

import math
from array import array
from decimal import Decimal
from functools import partial
from itertools import count

import attrs

from wiro_async.testing._records import Json
from wiro_async.testing._scripts import OPENING, ModelScript, RunInput, Script, Step, evenly
from wiro_async.testing._service.voice_session import FRAME_BYTES, SAMPLE_RATE, Voice

FRAMES_A_TURN = 5
TURN_COST = Decimal("0.002")
PRICE = '[{"inputs":{},"price":0.002,"priceMethod":"cp-realtimeturn"}]'
LETTER_SECONDS = 0.05
SPEAKING = 4  # a tone is sent so many times as fast as it plays


@attrs.define(eq=False)
class Echo(Voice):
    """Says back what it hears, byte for byte; a second of it is a turn."""

    _frames: int = 0

    def hear(self, pcm: bytes) -> None:
        """Say it back."""
        self.line.say(pcm)
        self._frames += 1
        if self._frames % FRAMES_A_TURN == 0:
            turn = self.line.turns + 1
            self.line.transcribe("USER", f"This was turn {turn}.")
            self.line.transcribe("AI", f"I heard turn {turn}.")
            self.line.end_turn(TURN_COST)


def tone(text: str) -> bytes:
    """A text as audio: 50 ms for each character, each with a pitch of its own."""
    samples = array("h")
    for letter in text:
        step = 2 * math.pi * (220 + 20 * (ord(letter) % 32)) / SAMPLE_RATE
        samples.extend(round(8000 * math.sin(step * at)) for at in range(int(SAMPLE_RATE * LETTER_SECONDS)))
    return samples.tobytes()


@attrs.define(eq=False)
class Tone(Voice):
    """Speaks its prompt, hears nothing."""

    _silenced: bool = False

    def begin(self) -> None:
        """Speak, frame by frame."""
        audio = tone(str(self.line.task.parameters.get("prompt", "")))
        frames = [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]
        gap = FRAME_BYTES / 2 / SAMPLE_RATE / SPEAKING
        for frame, number in zip(frames, count(1), strict=False):
            self.line.later(gap * number, partial(self._speak, frame))
        self.line.later(gap * (len(frames) + 1), self._finish)

    def interrupt(self) -> None:
        """Be silent."""
        self._silenced = True
        self._finish()

    def _speak(self, frame: bytes) -> None:
        if not self._silenced:
            self.line.say(frame)

    def _finish(self) -> None:
        if not self.line.turns:
            self.line.transcribe("AI", str(self.line.task.parameters.get("prompt", "")))
            self.line.end_turn(TURN_COST)
            if self.line.task.parameters.get("stay") != "true":
                self.line.finish()


@attrs.define(eq=False)
class Counting(Voice):
    """Writes down how many samples it has heard: every second of audio, and at the end."""

    _bytes: int = 0
    _told: int = 0

    def hear(self, pcm: bytes) -> None:
        """Count."""
        self._bytes += len(pcm)
        if self._bytes - self._told >= FRAMES_A_TURN * FRAME_BYTES:
            self._tell()

    def end(self) -> None:
        """Tell the whole count."""
        self._tell()

    def _tell(self) -> None:
        self._told = self._bytes
        self.line.transcribe("USER", f"{self._bytes // 2} samples")
        self.line.end_turn(TURN_COST)


def _opening(given: RunInput) -> tuple[Step, ...]:
    opening = [Step(stage) for stage in OPENING]
    opening.append(Step("task_stream_ready", stored=True))
    return evenly(given.number("seconds", 1.0), opening)


def _model(slug: str, number: str, voice: type[Voice], category: str, description: str, *items: Json) -> ModelScript:
    seconds: dict[str, Json] = {"id": "seconds", "type": "float", "label": "Seconds", "default": "1.0"}
    return ModelScript(
        slug,
        lambda given: Script(_opening(given), cost=Decimal(0), realtime=voice),
        required=("prompt",) if items else (),
        tool={
            "id": number,
            "title": slug.partition("/")[2].title(),
            "description": description,
            "categories": ["realtime", category],
            "dynamicprice": PRICE,
            "parameters": [*items, seconds],
        },
    )


ECHO = _model(
    "emulator/echo",
    "618",
    Echo,
    "speech-to-speech",
    "Says back what it hears, until the session is ended. Ready after `seconds`.",
)
TONE = _model(
    "emulator/tone",
    "620",
    Tone,
    "text-to-speech",
    "Speaks a prompt in tones, then ends; with `stay` it waits to be ended. Ready after `seconds`.",
    {"id": "prompt", "type": "textarea", "label": "Prompt", "required": True},
    {"id": "stay", "type": "checkbox", "label": "Stay", "default": "false"},
)
COUNTING = _model(
    "emulator/counting",
    "621",
    Counting,
    "speech-to-text",
    "Counts the samples that it hears, until the session is ended. Ready after `seconds`.",
)
