"""The standard models: a painter, a mirror, and models for tests of success and failure."""

from decimal import Decimal
from functools import lru_cache

from wiro_async.testing._catalogue.assistant import ASSISTANT
from wiro_async.testing._catalogue.families import FAMILIES
from wiro_async.testing._catalogue.parameters import item, rule, table
from wiro_async.testing._catalogue.text_models import TEXTS
from wiro_async.testing._catalogue.voices import COUNTING, ECHO, TONE
from wiro_async.testing._catalogue.writer import WRITER
from wiro_async.testing._scripts import (
    CLOSING,
    OPENING,
    FileOutput,
    ModelScript,
    Outputs,
    RunInput,
    Script,
    Step,
    evenly,
    progress,
    timeline,
)

PAINTER_PRICE = Decimal("0.04")
EFFECTS = ("mirror", "invert", "sepia", "poster", "blur", "edges")


def _paint(inputs: RunInput) -> Script:
    from wiro_async.testing._scenery.painter import paint

    prompt, seconds = inputs.text("prompt"), inputs.number("seconds", 1.2)
    width, height = inputs.integer("width", 512), inputs.integer("height", 512)
    seed, images = inputs.integer("seed", 0), inputs.integer("images", 1)

    def outputs() -> Outputs:
        return tuple(
            FileOutput(f"{number}.png", "image/png", paint(prompt, width, height, seed + number))
            for number in range(images)
        )

    events = [progress(step, 12, seconds) for step in range(1, 13)]
    return Script(timeline(seconds, events), outputs, cost=PAINTER_PRICE * images)


PAINTER = ModelScript(
    "emulator/painter",
    _paint,
    required=("prompt",),
    tool={
        "id": "611",
        "title": "Painter",
        "description": "Paints a picture of a prompt.",
        "categories": ["text-to-image"],
        "tags": ["fast"],
        "dynamicprice": table(rule(str(PAINTER_PRICE), "cpo")),
        "approximatelycost": "0.04",
        "parameters": [
            {
                "title": "Picture",
                "items": [
                    item("prompt", "textarea", "Prompt", required=True, placeholder="A futuristic city"),
                    item("width", "range", "Width", value="512", minvalue="16", maxvalue="2048", incrementby="1"),
                    item("height", "range", "Height", value="512", minvalue="16", maxvalue="2048", incrementby="1"),
                    item("images", "select", "Images", value="1", options=[{"text": n, "value": n} for n in "1234"]),
                ],
            },
            {
                "title": "Advanced",
                "items": [
                    item("seed", "text", "Seed", default="0", advanced=True),
                    item("seconds", "float", "Seconds", default="1.2", min=0, max=600, advanced=True),
                ],
            },
        ],
    },
)


def _mirror(inputs: RunInput) -> Script:
    from wiro_async.testing._scenery.painter import paint, transform

    effect, uploads, urls = (
        inputs.text("effect", "mirror"),
        inputs.files.get("inputImage", ()),
        inputs.urls("inputImage"),
    )

    def outputs() -> Outputs:
        pictures = [upload.data or b"" for upload in uploads]
        pictures += [inputs.fetch(url) or paint(url, 256, 256, 0) for url in urls]
        return tuple(
            FileOutput(f"{number}.png", "image/png", transform(picture, effect))
            for number, picture in enumerate(pictures)
        )

    seconds = inputs.number("seconds", 0.6)
    events = [progress(step, 6, seconds) for step in range(1, 7)]
    return Script(timeline(seconds, events), outputs, cost=Decimal("0.01"))


MIRROR = ModelScript(
    "emulator/mirror",
    _mirror,
    required_files=("inputImage",),
    tool={
        "id": "613",
        "title": "Mirror",
        "description": "Changes a picture. It fetches no URLs of other hosts and makes a picture instead.",
        "categories": ["image-to-image"],
        "dynamicprice": table(rule("0.01", "cpr")),
        "approximatelycost": "0.01",
        "parameters": [
            item("inputImage", "multifileinput", "Picture", required="true", maxinputlenght="4"),
            item("effect", "select", "Effect", defaultvalue="mirror", options=list(EFFECTS)),
            item("seconds", "float", "Seconds", default="0.6"),
        ],
    },
)


def _sleep(inputs: RunInput) -> Script:
    return _sleeper_script(inputs.number("seconds", 0.5), inputs.integer("events", 12), inputs.text("fail") == "true")


@lru_cache(64)
def _sleeper_script(seconds: float, events: int, fails: bool) -> Script:
    middle = [progress(step, events, seconds) for step in range(1, events - len(OPENING + CLOSING) + 1)]
    opening, closing = [Step(stage) for stage in OPENING], [Step(stage) for stage in CLOSING]
    if fails:
        closing[1] = Step("task_end", log="Told to fail.\n", error="Told to fail.\n")
    return Script(
        evenly(seconds, [*opening, *middle, *closing]),
        () if fails else (FileOutput("slept.txt", "text/plain", b"Slept well.\n"),),
        exit_code="1" if fails else "0",
    )


SLEEPER = ModelScript(
    "emulator/sleeper",
    _sleep,
    tool={
        "id": "614",
        "title": "Sleeper",
        "description": "Takes its time. `events` counts all messages, stages included (at least 9).",
        "categories": ["test"],
        "dynamicprice": table(rule("0.001", "cpr")),
        "parameters": [
            item("seconds", "float", "Seconds", default="0.5", min="0"),
            item("events", "integer", "Messages", default="12", min="9"),
            item("fail", "checkbox", "Fail", default="false"),
        ],
    },
)


def _fail(inputs: RunInput) -> Script:
    reason = inputs.text("reason", "CUDA out of memory.")
    events = [
        Step("task_output", "Loading weights", log="Loading weights\n"),
        Step("task_output", "Warming up", log="Warming up\n"),
        Step("task_error", reason, log=f"{reason}\n", error=f"{reason}\n"),
    ]
    return Script(timeline(inputs.number("seconds", 0.3), events), exit_code="1")


FAILING = ModelScript(
    "emulator/failing",
    _fail,
    tool={
        "id": "615",
        "title": "Failing",
        "description": "Starts well and ends badly. `reason` is the last line it logs.",
        "categories": ["test"],
        "parameters": [item("reason", "text", "Reason", default="CUDA out of memory.")],
    },
)


STUCK = ModelScript(
    "emulator/stuck",
    lambda inputs: Script(evenly(0.1, [Step(stage) for stage in OPENING])),
    tool={"id": "616", "title": "Stuck", "description": "Starts and never ends.", "categories": ["test"]},
)

QUEUED = ModelScript(
    "emulator/queued",
    lambda inputs: Script(()),
    tool={"id": "617", "title": "Queued", "description": "Never leaves the queue.", "categories": ["test"]},
)

STANDARD: tuple[ModelScript, ...] = (
    PAINTER,
    WRITER,
    ASSISTANT,
    MIRROR,
    SLEEPER,
    FAILING,
    STUCK,
    QUEUED,
    ECHO,
    TONE,
    COUNTING,
    *TEXTS,
    *FAMILIES,
)
