"""Language models with the habits of real ones: three message formats, and texts that do not only grow."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import attrs

from wiro_async.testing._catalogue.parameters import choices
from wiro_async.testing._json import Json
from wiro_async.testing._records import INVALID, RefusedError
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline

MESSAGES = 40
FORMATS = ("raw", "lists", "segments")


@attrs.frozen
class Snapshot:
    """A snapshot of the text."""

    thinking: str
    answer: str
    raw: str | None = None

    @property
    def segments(self) -> list[dict[str, Json]]:
        """The segments, as the newest models send them."""
        texts = (("thinking", self.thinking), ("answer", self.answer))
        return [{"type": kind, "text": text} for kind, text in texts if text]

    def content(self, form: str) -> dict[str, Json]:
        """Return the texts in one of the formats."""
        raw = self.answer if self.raw is None else self.raw
        if form == "raw":
            return {"raw": raw}
        if form == "segments":
            return {"raw": raw, "segments": self.segments}
        thinking, answer = ([text] if text else [] for text in (self.thinking, self.answer))
        return {"raw": raw, "thinking": thinking, "answer": answer, "isThinking": not raw}

    def step(self, form: str) -> Step:
        head: dict[str, Json] = {
            "type": "answer" if self.answer else "thinking",
            "speed": "60.0",
            "speedType": "token/s",
        }
        return Step("task_output", {**head, **self.content(form)}, segments=self.segments)


def _written(thinking: Sequence[str], answer: Sequence[str]) -> list[Snapshot]:
    """A text that grows."""
    size = -(-(len(thinking) + len(answer)) // MESSAGES)
    thoughts = "".join(thinking)
    snapshots = [Snapshot("".join(thinking[:end]), "") for end in range(size, len(thinking), size)]
    return snapshots + [Snapshot(thoughts, "".join(answer[:end])) for end in range(0, len(answer) + size, size)]


def _rewritten(thinking: Sequence[str], answer: Sequence[str]) -> list[Snapshot]:
    """A text that starts over halfway. The final text is shorter than the last message."""
    draft = ["A first try:", *answer[: len(answer) // 2]]
    snapshots = [*_written(thinking, draft), *(_written(thinking, answer)[-MESSAGES // 2 :])]
    last = snapshots[-1]
    return [*snapshots, attrs.evolve(last, answer=f"{last.answer}\n\n(The end)"), last]


def _late(thinking: Sequence[str], answer: Sequence[str]) -> list[Snapshot]:
    """An answer that is sent only when it is complete."""
    snapshots = _written(thinking, answer)
    return [*(attrs.evolve(snapshot, answer="", raw="") for snapshot in snapshots), snapshots[-1]]


def _wrapped(thinking: Sequence[str], answer: Sequence[str]) -> list[Snapshot]:
    """An answer between tags, which are split across messages."""
    return _written(thinking, ["\n<ans", "wer>", *answer, "</", "answer>", "\n"])


Write: TypeAlias = Callable[[Sequence[str], Sequence[str]], list[Snapshot]]


def _script(write: Write) -> Callable[[RunInput], Script]:
    def play(inputs: RunInput) -> Script:
        from wiro_async.testing._catalogue.prose import compose

        prompt, form = inputs.text("prompt"), inputs.text("generation", "changing")
        if form not in (*FORMATS, "changing"):
            raise RefusedError(0, INVALID)
        snapshots = write(*compose(prompt))
        forms = [form] if form in FORMATS else FORMATS
        steps = [snapshot.step(forms[number % len(forms)]) for number, snapshot in enumerate(snapshots[:-1])]
        content = {"prompt": prompt, **snapshots[-1].content(forms[-1])}
        return Script(timeline(inputs.number("seconds", 2.5), steps), (RawOutput(content),), cost=Decimal("0.002"))

    return play


def _model(number: int, name: str, title: str, write: Write) -> ModelScript:
    forms: Json = choices(*FORMATS, "changing")
    parameters: Json = [
        {"id": "prompt", "type": "textarea", "label": "Prompt", "required": True},
        {"id": "generation", "type": "select", "label": "Messages", "default": "changing", "options": forms},
        {"id": "seconds", "type": "float", "label": "Seconds", "default": "2.5"},
    ]
    tool: dict[str, Json] = {"id": str(number), "title": title, "description": (write.__doc__ or "").strip()}
    tool |= {"categories": ["llm"], "parameters": parameters, "approximatelycost": "0.002"}
    return ModelScript(f"text/{name}", _script(write), required=("prompt",), tool=tool)


TEXTS = (
    _model(641, "growing", "Growing text", _written),
    _model(642, "rewriting", "Rewriting", _rewritten),
    _model(643, "late", "Late answer", _late),
    _model(644, "wrapped", "Wrapped answer", _wrapped),
)
