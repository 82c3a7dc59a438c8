"""Language models with the manners that real ones have: four ways of telling text, and texts that do not just grow."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import attrs

from wiro_async.testing._records import Json, RefusedError
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline

MESSAGES = 40
GENERATIONS = ("raw", "lists", "segments")


@attrs.frozen
class Page:
    """What has been written so far."""

    thinking: str
    answer: str
    raw: str | None = None

    @property
    def segments(self) -> list[dict[str, Json]]:
        """As the newest models tell it."""
        texts = (("thinking", self.thinking), ("answer", self.answer))
        return [{"type": kind, "text": text} for kind, text in texts if text]

    def told(self, generation: str) -> dict[str, Json]:
        """The texts, in one of the ways."""
        raw = self.answer if self.raw is None else self.raw
        if generation == "raw":
            return {"raw": raw}
        if generation == "segments":
            return {"raw": raw, "segments": self.segments}
        thinking, answer = ([text] if text else [] for text in (self.thinking, self.answer))
        return {"raw": raw, "thinking": thinking, "answer": answer, "isThinking": not raw}

    def step(self, generation: str) -> Step:
        """The message that tells it."""
        told: dict[str, Json] = {
            "type": "answer" if self.answer else "thinking",
            "speed": "60.0",
            "speedType": "token/s",
        }
        return Step("task_output", {**told, **self.told(generation)}, segments=self.segments)


def _written(thinking: Sequence[str], answer: Sequence[str]) -> list[Page]:
    """A text that grows."""
    pace = -(-(len(thinking) + len(answer)) // MESSAGES)
    thought = "".join(thinking)
    pages = [Page("".join(thinking[:end]), "") for end in range(pace, len(thinking), pace)]
    return pages + [Page(thought, "".join(answer[:end])) for end in range(0, len(answer) + pace, pace)]


def _rewritten(thinking: Sequence[str], answer: Sequence[str]) -> list[Page]:
    """A text that is taken back when half of it is there; the final one is shorter than the last that was told."""
    draft = ["A first try:", *answer[: len(answer) // 2]]
    pages = [*_written(thinking, draft), *(_written(thinking, answer)[-MESSAGES // 2 :])]
    last = pages[-1]
    return [*pages, attrs.evolve(last, answer=f"{last.answer}\n\n(The end)"), last]


def _late(thinking: Sequence[str], answer: Sequence[str]) -> list[Page]:
    """An answer that nobody sees before it is whole."""
    pages = _written(thinking, answer)
    return [*(attrs.evolve(page, answer="", raw="") for page in pages), pages[-1]]


def _wrapped(thinking: Sequence[str], answer: Sequence[str]) -> list[Page]:
    """An answer between tags, which come in pieces, too."""
    return _written(thinking, ["\n<ans", "wer>", *answer, "</", "answer>", "\n"])


Write: TypeAlias = Callable[[Sequence[str], Sequence[str]], list[Page]]


def _script(write: Write) -> Callable[[RunInput], Script]:
    def play(given: RunInput) -> Script:
        from wiro_async.testing._catalogue.prose import compose

        prompt, asked = given.text("prompt"), given.text("generation", "changing")
        if asked not in (*GENERATIONS, "changing"):
            raise RefusedError(0, "Request parameters are invalid.")
        pages = write(*compose(prompt))
        ways = [asked] if asked in GENERATIONS else GENERATIONS
        steps = [page.step(ways[number % len(ways)]) for number, page in enumerate(pages[:-1])]
        content = {"prompt": prompt, **pages[-1].told(ways[-1])}
        return Script(timeline(given.number("seconds", 2.5), steps), (RawOutput(content),), cost=Decimal("0.002"))

    return play


def _model(number: int, name: str, title: str, write: Write) -> ModelScript:
    ways: Json = [{"text": way, "value": way} for way in (*GENERATIONS, "changing")]
    parameters: Json = [
        {"id": "prompt", "type": "textarea", "label": "Prompt", "required": True},
        {"id": "generation", "type": "select", "label": "Messages", "default": "changing", "options": ways},
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
