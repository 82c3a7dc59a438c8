"""The realtime models: an echo (voice), a tone (text to speech) and a counter (speech to text)."""

import math
from array import array
from decimal import Decimal
from functools import partial
from itertools import count

import attrs

from wiro_async.testing._json import Json
from wiro_async.testing._scripts import OPENING, ModelScript, Script, Step, Voice, evenly
from wiro_async.testing._service.voice_session import FRAME_BYTES, SAMPLE_RATE

FRAMES_A_TURN = 5
TURN_COST = Decimal("0.002")
PRICE = '[{"inputs":{},"price":0.002,"priceMethod":"cp-realtimeturn"}]'
LETTER_SECONDS = 0.05
SPEAKING = 4  # a tone is sent this many times as fast as it plays


@attrs.define(eq=False)
class Echo(Voice):
    """Sends received audio back unchanged. A second of audio is a turn."""

    _frames: int = 0

    def hear(self, pcm: bytes) -> None:
        self.line.say(pcm)
        self._frames += 1
        if self._frames % FRAMES_A_TURN == 0:
            turn = self.line.turns + 1
            self.line.transcribe("USER", f"This was turn {turn}.")
            self.line.transcribe("AI", f"I heard turn {turn}.")
            self.line.end_turn(TURN_COST)


def tone(text: str) -> bytes:
    """Return the audio that `emulator/tone` says for a text: 50 ms a character, at the character's own pitch."""
    samples = array("h")
    for letter in text:
        step = 2 * math.pi * (220 + 20 * (ord(letter) % 32)) / SAMPLE_RATE
        samples.extend(round(8000 * math.sin(step * at)) for at in range(int(SAMPLE_RATE * LETTER_SECONDS)))
    return samples.tobytes()


@attrs.define(eq=False)
class Tone(Voice):
    """Speaks its prompt and ignores received audio."""

    _interrupted: bool = False

    def begin(self) -> None:
        audio = tone(str(self.line.parameters.get("prompt", "")))
        frames = [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]
        gap = FRAME_BYTES / 2 / SAMPLE_RATE / SPEAKING
        for frame, number in zip(frames, count(1), strict=False):
            self.line.later(gap * number, partial(self._speak, frame))
        self.line.later(gap * (len(frames) + 1), self._finish)

    def interrupt(self) -> None:
        self._interrupted = True
        self._finish()

    def _speak(self, frame: bytes) -> None:
        if not self._interrupted:
            self.line.say(frame)

    def _finish(self) -> None:
        if not self.line.turns:
            self.line.transcribe("AI", str(self.line.parameters.get("prompt", "")))
            self.line.end_turn(TURN_COST)
            if self.line.parameters.get("stay") != "true":
                self.line.finish()


@attrs.define(eq=False)
class Counting(Voice):
    """Sends how many samples it received: for every second of audio, and at the end."""

    _bytes: int = 0
    _reported: int = 0

    def hear(self, pcm: bytes) -> None:
        self._bytes += len(pcm)
        if self._bytes - self._reported >= FRAMES_A_TURN * FRAME_BYTES:
            self._report()

    def end(self) -> None:
        self._report()

    def _report(self) -> None:
        self._reported = self._bytes
        self.line.transcribe("USER", f"{self._bytes // 2} samples")
        self.line.end_turn(TURN_COST)


def _model(slug: str, number: str, voice: type[Voice], category: str, description: str, *items: Json) -> ModelScript:
    opening = [*(Step(stage) for stage in OPENING), Step("task_stream_ready", stored=True)]
    seconds: dict[str, Json] = {"id": "seconds", "type": "float", "label": "Seconds", "default": "1.0"}
    return ModelScript(
        slug,
        lambda inputs: Script(evenly(inputs.number("seconds", 1.0), opening), cost=Decimal(0), realtime=voice),
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
    "Sends received audio back until the session ends. Ready after `seconds`.",
)
TONE = _model(
    "emulator/tone",
    "620",
    Tone,
    "text-to-speech",
    "Speaks a prompt in tones, then ends. With `stay` it waits for the end. Ready after `seconds`.",
    {"id": "prompt", "type": "textarea", "label": "Prompt", "required": True},
    {"id": "stay", "type": "checkbox", "label": "Stay", "default": "false"},
)
COUNTING = _model(
    "emulator/counting",
    "621",
    Counting,
    "speech-to-text",
    "Counts received samples until the session ends. Ready after `seconds`.",
)
