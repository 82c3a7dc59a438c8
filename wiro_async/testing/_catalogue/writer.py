"""`emulator/writer`: a language model that thinks, answers, and calls a tool if it gets one."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from wiro_async.testing._catalogue.parameters import rule, table
from wiro_async.testing._json import Json, decode
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline

MESSAGES = 40
TOKEN_PRICE = Decimal("0.00001")
TOKEN_PRICES = table(rule(str(TOKEN_PRICE), "cpt"))


@attrs.frozen
class Draft:
    """A snapshot of the text."""

    prompt: str
    thinking: str
    answer: str
    calls: tuple[dict[str, Json], ...] = ()
    finish: str = ""
    done: bool = False

    @property
    def usage(self) -> dict[str, Json]:
        """Token counts; a word counts as a token."""
        prompt, thinking = len(self.prompt.split()), len(self.thinking.split())
        output = thinking + len(self.answer.split())
        details = {"reasoning_tokens": thinking}
        return {
            "input_tokens": prompt,
            "output_tokens": output,
            "total_tokens": prompt + output,
            "output_tokens_details": details,
        }

    @property
    def segments(self) -> list[dict[str, Json]]:
        """The segments in order, as newer models send them."""
        texts = (("thinking", self.thinking), ("answer", self.answer))
        segments: list[dict[str, Json]] = [{"type": kind, "text": text} for kind, text in texts if text]
        return segments + list(self.calls)

    def message(self, segmented: bool) -> dict[str, Json]:
        """Return the socket message, which always holds all text so far."""
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
        body: dict[str, Json] = {"prompt": self.prompt, "raw": self.answer}
        if segmented:
            return {**body, "segments": self.segments, **self._ending()}
        return {**body, "thinking": [self.thinking], "answer": [self.answer]}

    def _ending(self) -> dict[str, Json]:
        return {"finishreason": self.finish or ("tool_calls" if self.calls else "stop"), "usage": self.usage}


def _write(inputs: RunInput) -> Script:
    from wiro_async.testing._catalogue.prose import compose

    prompt = inputs.text("prompt") or inputs.text("messages") or inputs.text("toolOutputs")
    thinking, answer = compose(prompt)
    calls = _calls(inputs)
    segmented = inputs.generation == "newer" or bool(calls)
    drafts = _drafts(prompt, thinking, [] if calls else answer)
    drafts.append(attrs.evolve(drafts[-1], calls=calls, done=True))
    events: list[Step] = []
    written = ""
    for draft in drafts:
        new = draft.answer.removeprefix(written)
        events.append(Step("task_output", draft.message(segmented), log=new, segments=draft.segments))
        written = draft.answer
    final = drafts[-1]
    return Script(
        timeline(inputs.number("seconds", 2.5), events, full=final.message(segmented)),
        (RawOutput(final.content(segmented)),),
        cost=TOKEN_PRICE * int(str(final.usage["total_tokens"])),
    )


def _drafts(prompt: str, thinking: Sequence[str], answer: Sequence[str]) -> list[Draft]:
    size = -(-(len(thinking) + len(answer)) // MESSAGES)
    thoughts = [Draft(prompt, text, "") for text in _prefixes(thinking, size)]
    return thoughts + [Draft(prompt, "".join(thinking), text) for text in _prefixes(answer, size)]


def _prefixes(chunks: Sequence[str], size: int) -> list[str]:
    """Return the text so far after every `size` chunks."""
    return ["".join(chunks[: end + size]) for end in range(0, len(chunks), size)]


def _calls(inputs: RunInput) -> tuple[dict[str, Json], ...]:
    """Return one call of the first tool, if there is a tool."""
    tools = inputs.parameters.get("tools")
    parsed = decode(tools) if isinstance(tools, str) and tools else tools
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
        "description": "Thinks, then answers.",
        "categories": ["llm", "llm-tool-call"],
        "dynamicprice": TOKEN_PRICES,
        "approximatelycost": "0.002",
        "parameters": [
            {"id": "prompt", "type": "textarea", "label": "Prompt", "required": False},
            {"id": "messages", "type": "json-array", "label": "Messages", "required": False},
            {"id": "tools", "type": "json-array", "label": "Tools", "required": False},
            {"id": "seconds", "type": "float", "label": "Seconds", "required": False, "default": "2.5"},
        ],
    },
)
