"""`emulator/assistant`: a language model that calls its tools, then answers with their outputs.

Parameters that only the emulator knows:

- `seconds`: duration of the run.
- `finish`: the finish reason, instead of "stop".
- `rounds`: how often it calls tools before it answers.
- `arguments`: JSON text for the arguments of calls, instead of plausible ones.
- `incomplete`: number of calls that stay incomplete.
- `fenced`: put JSON between code fences.
- `malformed`: cut JSON in half.
"""

import json
from collections.abc import Mapping, Sequence

import attrs

from wiro_async.testing._catalogue.parameters import item
from wiro_async.testing._catalogue.schema_samples import sample
from wiro_async.testing._catalogue.writer import TOKEN_PRICE, TOKEN_PRICES, Draft
from wiro_async.testing._json import Json, encode_text
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline
from wiro_async.testing._service.turn_rules import completed_calls, mappings

PIECES = 12


def _assist(inputs: RunInput) -> Script:
    question = _question(inputs)
    thinking = f"They want to know about this: {question}"
    calls = _calls(inputs, question)
    if calls:
        finish = "tool_calls" if any(call["status"] == "completed" for call in calls) else "length"
        writing = tuple({**call, "status": "in_progress", "arguments": ""} for call in calls)
        drafts = [Draft(question, thinking, ""), Draft(question, thinking, "", writing)]
    else:
        finish = inputs.text("finish", "stop")
        answer = _answer(inputs, question)
        answer = answer if finish == "stop" else answer[: len(answer) // 2]
        drafts = [Draft(question, thinking, ""), *(Draft(question, thinking, text) for text in _prefixes(answer))]
    drafts.append(attrs.evolve(drafts[-1], calls=calls, finish=finish, done=True))
    events = [Step("task_output", draft.message(True), segments=draft.segments) for draft in drafts]
    events[-1] = attrs.evolve(events[-1], log=drafts[-1].answer)
    return Script(
        timeline(inputs.number("seconds", 1.0), events),
        (RawOutput(drafts[-1].content(True)),),
        cost=TOKEN_PRICE * int(str(drafts[-1].usage["total_tokens"])),
    )


def _question(inputs: RunInput) -> str:
    """Return the prompt or the last user message, of this run or of the run that it continues."""
    question = inputs.text("prompt")
    for message in mappings(inputs.json("messages")):
        content = message.get("content")
        if message.get("role") == "user":
            question = (
                content if isinstance(content, str) else " ".join(str(p.get("text", "")) for p in mappings(content))
            )
    earlier = inputs.earlier(inputs.text("previousTaskToken"))
    return question if question or earlier is None else _question(attrs.evolve(inputs, parameters=earlier.parameters))


def _turn(inputs: RunInput) -> list[RunInput]:
    """Return the runs of this turn, newest first: those that sent tool outputs, and the one that began the turn."""
    runs = [inputs]
    while runs[-1].has("toolOutputs"):
        earlier = inputs.earlier(runs[-1].text("previousTaskToken"))
        if earlier is None:
            break
        runs.append(attrs.evolve(inputs, parameters=earlier.parameters))
    return runs


def _calls(inputs: RunInput, question: str) -> tuple[dict[str, Json], ...]:
    turn = _turn(inputs)
    began = turn[-1]
    tools = [_function(tool) for tool in mappings(began.json("tools"))]
    choice = began.json("tool_choice")
    if not tools or choice == "none" or len(turn) > inputs.integer("rounds", 1):
        return ()
    if isinstance(choice, Mapping):
        tools = [tool for tool in tools if tool.get("name") == _function(choice).get("name")]
    if began.text("parallel_tool_calls") == "false":
        tools = tools[:1]
    complete = len(tools) - inputs.integer("incomplete", 0)
    return tuple(_call(inputs, tool, question, f"{len(turn)}_{at + 1}", at < complete) for at, tool in enumerate(tools))


def _call(inputs: RunInput, tool: Mapping[str, Json], question: str, number: str, complete: bool) -> dict[str, Json]:
    status = "completed" if complete else "incomplete"
    call: dict[str, Json] = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": tool.get("name", "")}
    if tool.get("type") == "custom":
        return {"type": "custom_tool_call", **call, "input": question, "status": status}
    plausible = encode_text(sample(tool.get("parameters") or {"type": "object"}, question))
    arguments = inputs.text("arguments") or plausible
    return {
        "type": "function_call",
        **call,
        "arguments": arguments if complete else arguments[: len(arguments) // 2],
        "status": status,
    }


def _function(tool: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a tool's name and parameters, from either format."""
    inner = tool.get("function", tool.get("custom"))
    return {"type": tool.get("type"), **inner} if isinstance(inner, Mapping) else tool


def _answer(inputs: RunInput, question: str) -> str:
    form = _turn(inputs)[-1].json("response_format")
    if isinstance(form, Mapping) and form.get("type") != "text":
        return _json(inputs, form, question)
    outputs = mappings(inputs.json("toolOutputs"))
    if not outputs:
        return f"You asked: {question} I would say it depends, but mostly on the weather."
    earlier = inputs.earlier(inputs.text("previousTaskToken"))
    names = {call.get("call_id"): call.get("name") for call in completed_calls(earlier.content if earlier else {})}
    found: list[str] = []
    for output in outputs:
        content = output.get("output")
        text = content if isinstance(content, str) else encode_text(content)
        found.append(f"{names.get(output.get('call_id'))} says {text}")
    return f"You asked: {question} I looked it up: {'; '.join(found)}."


def _json(inputs: RunInput, form: Mapping[str, Json], question: str) -> str:
    described = form.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    value = sample(schema, question) if isinstance(schema, Mapping) else {"answer": question}
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if inputs.text("malformed") == "true":
        text = text[: len(text) // 2]
    return f"Here you are:\n```json\n{text}\n```\n" if inputs.text("fenced") == "true" else text


def _prefixes(text: str) -> Sequence[str]:
    size = -(-len(text) // PIECES) or 1
    return [text[: end + size] for end in range(0, len(text), size)]


ASSISTANT = ModelScript(
    "emulator/assistant",
    _assist,
    tool={
        "id": "619",
        "title": "Assistant",
        "description": "Calls its tools, then answers with their outputs.",
        "categories": ["llm", "llm-tool-call"],
        "dynamicprice": TOKEN_PRICES,
        "approximatelycost": "0.002",
        "parameters": [
            item("prompt", "textarea", "Prompt"),
            item("system_instructions", "textarea", "Instructions", advanced=True),
            item("messages", "json-array", "Messages", advanced=True),
            item("tools", "json-array", "Tools", advanced=True),
            item("tool_choice", "text", "Tool choice", advanced=True),
            item("parallel_tool_calls", "checkbox", "Parallel tool calls", advanced=True),
            item("previousTaskToken", "text", "Task to continue", advanced=True),
            item("toolOutputs", "json-array", "Outputs of tools", advanced=True),
            item("response_format", "json", "Response format", advanced=True),
            item("session_id", "text", "Session", advanced=True),
            item("user_id", "text", "User", advanced=True),
            item("seconds", "float", "Seconds", default="1.0", advanced=True),
            item("finish", "text", "Finish reason", default="stop", advanced=True),
            item("rounds", "integer", "Rounds of calls", default="1", advanced=True),
            item("arguments", "text", "Arguments of calls", advanced=True),
            item("incomplete", "integer", "Incomplete calls", default="0", advanced=True),
            item("fenced", "checkbox", "Code fences", advanced=True),
            item("malformed", "checkbox", "Broken JSON", advanced=True),
        ],
    },
)
