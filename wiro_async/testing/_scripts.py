"""Scripted models as data: what a run says, when, and what it leaves behind."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import attrs
import orjson

from wiro_async.testing._records import Generation, Json, RefusedError, Upload

if TYPE_CHECKING:
    from wiro_async.testing._service.voice_session import Voice, VoiceSession


@attrs.frozen
class Step:
    """One moment of a run: `after` seconds past the step before it, a message of this `type` goes out.

    `log` and `error` are appended to debugoutput and debugerror; `segments` is what the SSE stream shows;
    `extra` goes into the message's top level.
    Stages become the task's stored status; `stored` makes any other type do so too.
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
    """An output file, downloadable once the run is over."""

    name: str
    content_type: str
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class RawOutput:
    """An output that is not a file: the `raw` entry of a language model."""

    content: Mapping[str, Json]


Outputs: TypeAlias = tuple[FileOutput | RawOutput, ...]


@attrs.frozen
class Script:
    """A whole run. Without a closing step it never ends; `outputs` may be a function, called in a thread.

    A `realtime` run is a session: what makes its voice is called for each, and the run goes on to its end when the
    client ends the session.
    """

    steps: tuple[Step, ...]
    outputs: Outputs | Callable[[], Outputs] = ()
    exit_code: str = "0"
    cost: Decimal = Decimal("0.001")
    realtime: "Callable[[VoiceSession], Voice] | None" = None


@attrs.frozen
class EarlierRun:
    """A run of a model before this one, as `previousTaskToken` names it: what it was given, and its raw output."""

    model: str
    parameters: Mapping[str, Json]
    succeeded: bool
    content: Mapping[str, Json]


@attrs.frozen
class RunInput:
    """What a run was given. `fetch` resolves URLs of the emulator's own files, `earlier` tokens of runs."""

    parameters: Mapping[str, Json]
    files: Mapping[str, Sequence[Upload]]
    generation: Generation
    fetch: Callable[[str], bytes | None]
    earlier: Callable[[str], EarlierRun | None] = lambda token: None

    def text(self, name: str, default: str = "") -> str:
        """A parameter as text."""
        value = self.parameters.get(name)
        if isinstance(value, bool):
            return str(value).lower()
        return default if value is None or value == "" else str(value)

    def number(self, name: str, default: float) -> float:
        """A parameter as a number, refused in the service's words if it is none."""
        try:
            return float(self.text(name, str(default)))
        except ValueError:
            raise RefusedError(0, f"Request parameter [{name}] must be integer or float") from None

    def json(self, name: str) -> Json:
        """A parameter that is JSON, or JSON text as multipart bodies have it."""
        value = self.parameters.get(name)
        if not isinstance(value, str) or value[:1] not in ("{", "["):
            return value
        try:
            decoded: Json = orjson.loads(value)
        except ValueError:
            raise RefusedError(0, f"Request parameter [{name}] must be JSON") from None
        return decoded

    def integer(self, name: str, default: int) -> int:
        """A parameter as a whole number."""
        return int(self.number(name, default))

    def has(self, name: str) -> bool:
        """Whether the parameter came, as a value, as a file or as `{name}Url`."""
        return any((self.parameters.get(name), self.parameters.get(f"{name}Url"), self.files.get(name)))

    def urls(self, name: str) -> list[str]:
        """The URLs given for a file parameter, under its own name or `{name}Url`."""
        found: list[str] = []
        for value in (self.parameters.get(name), self.parameters.get(f"{name}Url")):
            items = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []
            found += [url.strip() for item in items for url in str(item).split(",") if url.strip()]
        return found


@attrs.frozen
class ModelScript:
    """A model the emulator can run: its slug ("owner/model"), and a function from input to `Script`.

    `tool` is merged over the record that Tool/Detail gives; `modelid` and prices belong there as well.
    """

    slug: str
    script: Callable[[RunInput], Script] = attrs.field(repr=False)
    required: tuple[str, ...] = ()
    required_files: tuple[str, ...] = ()
    tool: Mapping[str, Json] = attrs.field(factory=dict[str, Json], repr=False)

    def play(self, given: RunInput) -> Script:
        """The script of one run, or a `RefusedError` if something required is missing."""
        for name in self.required:
            if not given.has(name):
                raise RefusedError(0, f"Request parameter [{name}] required")
        for name in self.required_files:
            if not given.has(name):
                raise RefusedError(0, f"Request files [{name}] required")
        return self.script(given)

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
    """A typical run: the opening stages, `events` spread evenly over `seconds`, the closing stages.

    `overhead` is what the stages around the run take, half before and half after, in seconds;
    `full` is the message of `task_output_full`.
    """
    gap = seconds / (len(events) + 1)
    opening = [Step(stage, after=overhead / 2 / len(OPENING)) for stage in OPENING]
    middle = [attrs.evolve(event, after=gap) for event in events]
    closing = [Step(stage, after=overhead / 2 / len(CLOSING)) for stage in CLOSING]
    closing[0] = Step(CLOSING[0], full, after=gap)
    return (*opening, *middle, *closing)


def evenly(seconds: float, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same steps, spread evenly over `seconds`."""
    gap = seconds / len(steps)
    return tuple(attrs.evolve(step, after=gap) for step in steps)


def progress(step: int, total: int, seconds: float) -> Step:
    """A `progressGenerate` message: step `step` of `total` in a run of `seconds`."""
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
