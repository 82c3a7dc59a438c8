"""Scripted models as data: the messages of a run, their times, and the outputs."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias

import attrs

from wiro_async.testing._json import Json, decode
from wiro_async.testing._records import Generation, RefusedError, Upload


@attrs.frozen
class Step:
    """One message of a run, sent `after` seconds past the step before it.

    A stage such as `task_start` also becomes the task's stored status.

    Attributes:
        log: text appended to `debugoutput`.
        error: text appended to `debugerror`.
        segments: the segments that the event stream sends.
        stored: store `type` as the task's status even if it is no stage.
        extra: more keys for the top level of the message.
    """

    type: str
    message: Json = ""
    after: float = 0.0
    log: str = ""
    error: str = ""
    segments: Sequence[Mapping[str, Json]] | None = None
    stored: bool = False
    extra: Mapping[str, Json] = attrs.field(factory=dict[str, Json])


@attrs.frozen
class FileOutput:
    """An output file. Clients can download it after the run."""

    name: str
    content_type: str
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class RawOutput:
    """An output that is not a file: the `raw` entry of a language model."""

    content: Mapping[str, Json]


Outputs: TypeAlias = tuple[FileOutput | RawOutput, ...]


class VoiceSession(Protocol):
    """A realtime session, as its voice uses it.

    Attributes:
        turns: how many turns have ended.
    """

    turns: int

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The parameters of the run."""
        ...

    def say(self, pcm: bytes) -> None:
        """Send audio."""

    def transcribe(self, who: Literal["USER", "AI"], text: str) -> None:
        """Send the transcript of what the user or the model said."""

    def end_turn(self, cost: Decimal) -> None:
        """Send the end of a turn and its cost."""

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a function after some seconds of the emulator's time, if the session is still open then."""

    def emit(self, step: Step) -> None:
        """Send any other message."""

    def finish(self) -> None:
        """Close the session. The task then plays its closing steps."""


@attrs.define(eq=False)
class Voice:
    """The behaviour of a realtime model. Pass a subclass to a script: `Script(…, realtime=MyVoice)`."""

    line: VoiceSession

    def begin(self) -> None:
        """Handle that the session is ready."""

    def hear(self, pcm: bytes) -> None:
        """Handle a frame of audio."""

    def interrupt(self) -> None:
        """Stop speaking, as the client asks."""
        self.line.emit(Step("task_stream_end"))

    def end(self) -> None:
        """Send the last messages before the session closes."""


@attrs.frozen
class Script:
    """A whole run. Without a closing step it never ends.

    Attributes:
        outputs: the outputs, or a function that returns them. The function is called in a thread.
        realtime: makes the voice of a realtime session. The run plays its closing steps when the client ends the
            session.
    """

    steps: tuple[Step, ...]
    outputs: Outputs | Callable[[], Outputs] = ()
    exit_code: str = "0"
    cost: Decimal = Decimal("0.001")
    realtime: Callable[[VoiceSession], Voice] | None = None


@attrs.frozen
class EarlierRun:
    """An earlier run that `previousTaskToken` names: its parameters and its raw output."""

    model: str
    parameters: Mapping[str, Json]
    succeeded: bool
    content: Mapping[str, Json]


@attrs.frozen
class RunInput:
    """The inputs of a run, and the state a script may look up.

    Attributes:
        fetch: returns the bytes behind a URL of the emulator, or None for other URLs.
        earlier: returns the run with a token, or None.
    """

    parameters: Mapping[str, Json]
    files: Mapping[str, Sequence[Upload]]
    generation: Generation
    fetch: Callable[[str], bytes | None]
    earlier: Callable[[str], EarlierRun | None] = lambda token: None

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter as text."""
        value = self.parameters.get(name)
        if isinstance(value, bool):
            return str(value).lower()
        return default if value is None or value == "" else str(value)

    def number(self, name: str, default: float) -> float:
        """Return a parameter as a number. Raises `RefusedError` if it is none."""
        try:
            return float(self.text(name, str(default)))
        except ValueError:
            raise RefusedError(0, f"Request parameter [{name}] must be integer or float") from None

    def json(self, name: str) -> Json:
        """Return a parameter that is JSON, or JSON text as in multipart bodies. Raises `RefusedError` for bad JSON."""
        value = self.parameters.get(name)
        if not isinstance(value, str) or value[:1] not in ("{", "["):
            return value
        try:
            return decode(value)
        except ValueError:
            raise RefusedError(0, f"Request parameter [{name}] must be JSON") from None

    def integer(self, name: str, default: int) -> int:
        """Return a parameter as an integer."""
        return int(self.number(name, default))

    def has(self, name: str) -> bool:
        """Return whether the parameter was sent as a value, as a file or as `{name}Url`."""
        return any((self.parameters.get(name), self.parameters.get(f"{name}Url"), self.files.get(name)))

    def urls(self, name: str) -> list[str]:
        """Return the URLs sent for a file parameter, under its own name or `{name}Url`."""
        found: list[str] = []
        for value in (self.parameters.get(name), self.parameters.get(f"{name}Url")):
            items = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []
            found += [url.strip() for item in items for url in str(item).split(",") if url.strip()]
        return found


@attrs.frozen
class ModelScript:
    """A model that the emulator can run: its slug ("owner/model") and a function from inputs to a `Script`.

    Attributes:
        tool: entries that override the record which Tool/Detail sends; model ids and prices belong here, too.
    """

    slug: str
    script: Callable[[RunInput], Script] = attrs.field(repr=False)
    required: tuple[str, ...] = ()
    required_files: tuple[str, ...] = ()
    tool: Mapping[str, Json] = attrs.field(factory=dict[str, Json], repr=False)

    def play(self, inputs: RunInput) -> Script:
        """Return the script of one run. Raises `RefusedError` if a required parameter is missing."""
        for name in self.required:
            if not inputs.has(name):
                raise RefusedError(0, f"Request parameter [{name}] required")
        for name in self.required_files:
            if not inputs.has(name):
                raise RefusedError(0, f"Request files [{name}] required")
        return self.script(inputs)

    def record(self, *, summary: bool = False) -> dict[str, Json]:
        """Return the record of the model as Tool/Detail sends it, made from its slug and its `tool` entries."""
        owner, _, project = self.slug.partition("/")
        base: dict[str, Json] = {
            "id": "611",
            "title": project.replace("-", " ").title(),
            "slugowner": owner,
            "slugproject": project,
            "cleanslugowner": owner,
            "cleanslugproject": project,
            "description": "",
            "image": "",
            "categories": [],
            "tags": [],
            "samples": [],
            "computingtime": "1 second",
            "readme": "",
            "marketplace": "1",
            "dynamicprice": "",
            "cps": "0.001",
            "approximatelycost": "0.001",
            "averagepoint": "5.00",
            "taskstat": {"runcount": "0", "successcount": "0", "errorcount": "0", "lastruntime": "0"},
            "inspire": [],
            "parameters": [],
        }
        return {**base, **self.tool, **({"parameters": None} if summary else {})}


OPENING = ("task_accept", "task_preprocess_start", "task_preprocess_end", "task_assign", "task_start")
CLOSING = ("task_output_full", "task_end", "task_postprocess_start", "task_postprocess_end")


def timeline(
    seconds: float = 1.0, events: Sequence[Step] = (), *, overhead: float = 0.1, full: Json = ""
) -> tuple[Step, ...]:
    """Return the steps of a typical run: opening stages, `events` spread evenly over `seconds`, closing stages.

    Args:
        overhead: seconds that the stages take, half of them before the run and half after it.
        full: the message of `task_output_full`.
    """
    gap = seconds / (len(events) + 1)
    opening = [Step(stage, after=overhead / 2 / len(OPENING)) for stage in OPENING]
    middle = [attrs.evolve(event, after=gap) for event in events]
    closing = [Step(stage, after=overhead / 2 / len(CLOSING)) for stage in CLOSING]
    closing[0] = Step(CLOSING[0], full, after=gap)
    return (*opening, *middle, *closing)


def evenly(seconds: float, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Spread steps evenly over `seconds`."""
    gap = seconds / len(steps)
    return tuple(attrs.evolve(step, after=gap) for step in steps)


def progress(step: int, total: int, seconds: float) -> Step:
    """Return a `progressGenerate` message: step `step` of `total` in a run of `seconds`."""
    done = seconds * step / total
    return Step(
        "task_output",
        {
            "type": "progressGenerate",
            "task": "Generate",
            "percentage": str(round(100 * step / total)),
            "stepCurrent": str(step),
            "stepTotal": str(total),
            "speed": f"{total / seconds:.1f}" if seconds else "0",
            "speedType": "it/s",
            "elapsedTime": f"{done:.1f}s",
            "remainingTime": f"{seconds - done:.1f}s",
        },
    )
