"""`emulator/writer`: a language model that thinks, answers, and calls tools when it is given some."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs
import orjson

from wiro_async.testing._records import Json
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline

MESSAGES = 40
TOKEN_PRICE = Decimal("0.00001")


@attrs.frozen
class Draft:
    """What has been written so far."""

    prompt: str
    thinking: str
    answer: str
    calls: tuple[dict[str, Json], ...] = ()
    finish: str = ""
    done: bool = False

    @property
    def usage(self) -> dict[str, Json]:
        """Tokens, counted as words."""
        asked, thought = len(self.prompt.split()), len(self.thinking.split())
        said = thought + len(self.answer.split())
        details = {"reasoning_tokens": thought}
        return {
            "input_tokens": asked,
            "output_tokens": said,
            "total_tokens": asked + said,
            "output_tokens_details": details,
        }

    @property
    def segments(self) -> list[dict[str, Json]]:
        """The ordered timeline of the newer models."""
        texts = (("thinking", self.thinking), ("answer", self.answer))
        said: list[dict[str, Json]] = [{"type": kind, "text": text} for kind, text in texts if text]
        return said + list(self.calls)

    def message(self, segmented: bool) -> dict[str, Json]:
        """The socket message: always the whole text so far."""
        body: dict[str, Json] = {
            "type": "answer" if self.answer else "thinking",
            "raw": self.answer,
            "thinking": [self.thinking] if self.thinking else [],
            "answer": [self.answer] if self.answer else [],
            "isThinking": not self.answer,
            "speed": "60.0",
            "speedType": "token/s",
            "elapsedTime": f"{len(self.answer) / 300:.1f}s",
            "tokenCount": str(self.usage["output_tokens"]),
        }
        if segmented:
            body["segments"] = self.segments
        return {**body, **self._ending()} if segmented and self.done else body

    def content(self, segmented: bool) -> dict[str, Json]:
        """The final output."""
        body: dict[str, Json] = {"prompt": self.prompt, "raw": self.answer}
        if segmented:
            return {**body, "segments": self.segments, **self._ending()}
        return {**body, "thinking": [self.thinking], "answer": [self.answer]}

    def _ending(self) -> dict[str, Json]:
        return {"finishreason": self.finish or ("tool_calls" if self.calls else "stop"), "usage": self.usage}


def _write(given: RunInput) -> Script:
    from wiro_async.testing._catalogue.prose import compose

    prompt = given.text("prompt") or given.text("messages") or given.text("toolOutputs")
    thinking, answer = compose(prompt)
    calls = _calls(given)
    segmented = given.generation == "newer" or bool(calls)
    drafts = _drafts(prompt, thinking, [] if calls else answer)
    drafts.append(attrs.evolve(drafts[-1], calls=calls, done=True))
    events = [_step(before, draft, segmented) for before, draft in zip([None, *drafts], drafts, strict=False)]
    final = drafts[-1]
    return Script(
        timeline(given.number("seconds", 2.5), events, full=final.message(segmented)),
        (RawOutput(final.content(segmented)),),
        cost=TOKEN_PRICE * int(str(final.usage["total_tokens"])),
    )


def _drafts(prompt: str, thinking: Sequence[str], answer: Sequence[str]) -> list[Draft]:
    pace = -(-(len(thinking) + len(answer)) // MESSAGES)
    thoughts = [Draft(prompt, text, "") for text in _growing(thinking, pace)]
    return thoughts + [Draft(prompt, "".join(thinking), text) for text in _growing(answer, pace)]


def _growing(chunks: Sequence[str], pace: int) -> list[str]:
    """The text so far, after every `pace` chunks."""
    return ["".join(chunks[: end + pace]) for end in range(0, len(chunks), pace)]


def _step(before: Draft | None, draft: Draft, segmented: bool) -> Step:
    new = draft.answer.removeprefix(before.answer if before else "")
    return Step("task_output", draft.message(segmented), log=new, segments=draft.segments)


def _calls(given: RunInput) -> tuple[dict[str, Json], ...]:
    """One call of the first tool, unless its output has come already."""
    tools = given.parameters.get("tools")
    parsed: Json = orjson.loads(tools) if isinstance(tools, str) and tools else tools
    first = parsed[0] if isinstance(parsed, list) and parsed else None
    if not isinstance(first, Mapping):
        return ()
    function = first.get("function", first)
    name = function.get("name", "") if isinstance(function, Mapping) else ""
    call: dict[str, Json] = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name}
    return ({**call, "arguments": '{"query":"weather"}', "status": "completed"},)


WRITER = ModelScript(
    "emulator/writer",
    _write,
    tool={
        "id": "612",
        "title": "Writer",
        "description": "Thinks aloud, then answers.",
        "categories": ["llm", "llm-tool-call"],
        "dynamicprice": orjson.dumps([{"inputs": {}, "price": float(TOKEN_PRICE), "priceMethod": "cpt"}]).decode(),
        "approximatelycost": "0.002",
        "parameters": [
            {"id": "prompt", "type": "textarea", "label": "Prompt", "required": False},
            {"id": "messages", "type": "json-array", "label": "Messages", "required": False},
            {"id": "tools", "type": "json-array", "label": "Tools", "required": False},
            {"id": "seconds", "type": "float", "label": "Seconds", "required": False, "default": "2.5"},
        ],
    },
)
