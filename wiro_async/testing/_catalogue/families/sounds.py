"""Models for sound: text to speech, speech to text, music."""

import io
import wave
from decimal import Decimal

from wiro_async.testing._catalogue.families.family import a_file, an_answer, family
from wiro_async.testing._catalogue.parameters import choices, group, item, labelled, rule, table


def _silence() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24000)
        sound.writeframes(bytes(4800))
    return buffer.getvalue()


SOUND = a_file("0.wav", "audio/wav", _silence())
LANGUAGES = ("", "en", "de", "tr", "ja")

TEXT_TO_SPEECH = family(
    721,
    "text-to-speech",
    ["text-to-speech", "audio"],
    [
        group(
            "Speech",
            item("prompt", "textarea", "Text", required=True, placeholder="Hello there"),
            item("voice", "selectwithcover", "Voice", value="aria", options=labelled(aria="Aria", roger="Roger")),
            item("stability", "float", "Stability", value="0.5", minvalue="0", maxvalue="1", incrementby="0.01"),
            item("speed", "range", "Speed", value="1.0", minvalue="0.7", maxvalue="1.2", incrementby="0.1"),
            item("outputFormat", "select", "Format", value="mp3_44100", options=choices("mp3_44100", "pcm_24000")),
        )
    ],
    SOUND,
    cost=lambda inputs: Decimal("0.0001") * len(inputs.text("prompt")),
    dynamicprice=table(rule("0.0001", "cp-promptlength")),
)

SPEECH_TO_TEXT = family(
    722,
    "speech-to-text",
    ["speech-to-text", "audio"],
    [
        item("inputAudio", "fileinput", "Recording", required="true", note="mp3, wav or m4a"),
        item("language", "select", "Language", default="", options=list(LANGUAGES)),
        item("diarize", "checkbox", "Tell speakers apart", default="false"),
        item("numSpeakers", "integer", "Speakers", default="", min="1", max="32"),
    ],
    an_answer("Hello there."),
    cost=lambda inputs: Decimal("0.0001") * 60,
    dynamicprice=table(rule("0.0001", "cp-audiosecondslength")),
    approximatelycost="0.006",
)

MUSIC = family(
    723,
    "music",
    ["text-to-music", "audio"],
    [
        group(
            "Song",
            item("prompt", "textarea", "Style", required=True),
            item("lyrics", "textarea", "Lyrics"),
            item("instrumental", "checkbox", "Without voice", value="false"),
            item("durationSeconds", "number", "Length", value="30", minvalue="10", maxvalue="300", incrementby="10"),
        )
    ],
    SOUND,
    cost=lambda inputs: Decimal("0.08"),
    dynamicprice=table(rule("0.08", "cpr")),
)

SOUNDS = (TEXT_TO_SPEECH, SPEECH_TO_TEXT, MUSIC)
