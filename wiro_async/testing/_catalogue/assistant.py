"""`emulator/assistant`: a language model that calls the tools it is given, then answers with what they gave.

Parameters that only the emulator knows: `seconds`; `finish`, the reason it stops for instead of "stop";
`rounds`, how often it calls tools before it answers; `arguments`, JSON text for its calls instead of plausible ones;
`incomplete`, how many calls it leaves unfinished; `fenced`, to put JSON between code fences; `malformed`, to break it.
"""

from collections.abc import Mapping, Sequence

import attrs
import orjson

from wiro_async.testing._catalogue.schema_samples import sample
from wiro_async.testing._catalogue.writer import TOKEN_PRICE, Draft
from wiro_async.testing._records import Json
from wiro_async.testing._scripts import ModelScript, RawOutput, RunInput, Script, Step, timeline
from wiro_async.testing._service.turn_rules import completed_calls, mappings

PIECES = 12


def _assist(given: RunInput) -> Script:
    asked = _asked(given)
    thinking = f"They want to know about this: {asked}"
    calls = _calls(given, asked)
    if calls:
        finish = "tool_calls" if any(call["status"] == "completed" for call in calls) else "length"
        writing = tuple({**call, "status": "in_progress", "arguments": ""} for call in calls)
        drafts = [Draft(asked, thinking, ""), Draft(asked, thinking, "", writing)]
    else:
        finish = given.text("finish", "stop")
        answer = _answer(given, asked)
        answer = answer if finish == "stop" else answer[: len(answer) // 2]
        drafts = [Draft(asked, thinking, ""), *(Draft(asked, thinking, text) for text in _growing(answer))]
    drafts.append(attrs.evolve(drafts[-1], calls=calls, finish=finish, done=True))
    events = [Step("task_output", draft.message(True), segments=draft.segments) for draft in drafts]
    events[-1] = attrs.evolve(events[-1], log=drafts[-1].answer)
    return Script(
        timeline(given.number("seconds", 1.0), events),
        (RawOutput(drafts[-1].content(True)),),
        cost=TOKEN_PRICE * int(str(drafts[-1].usage["total_tokens"])),
    )


def _asked(given: RunInput) -> str:
    """The prompt, or the last message of a user, of this run or of the one it goes on from."""
    said = given.text("prompt")
    for message in mappings(given.json("messages")):
        content = message.get("content")
        if message.get("role") == "user":
            said = content if isinstance(content, str) else " ".join(str(p.get("text", "")) for p in mappings(content))
    earlier = given.earlier(given.text("previousTaskToken"))
    return said if said or earlier is None else _asked(_as_given(given, earlier.parameters))


def _as_given(given: RunInput, parameters: Mapping[str, Json]) -> RunInput:
    return attrs.evolve(given, parameters=parameters)


def _turn(given: RunInput) -> list[RunInput]:
    """The runs of this turn, the newest first: those that brought outputs of tools, and the one that began it."""
    runs = [given]
    while runs[-1].has("toolOutputs"):
        earlier = given.earlier(runs[-1].text("previousTaskToken"))
        if earlier is None:
            break
        runs.append(_as_given(given, earlier.parameters))
    return runs


def _calls(given: RunInput, asked: str) -> tuple[dict[str, Json], ...]:
    turn = _turn(given)
    began = turn[-1]
    tools = [_function(tool) for tool in mappings(began.json("tools"))]
    choice = began.json("tool_choice")
    if not tools or choice == "none" or len(turn) > given.integer("rounds", 1):
        return ()
    if isinstance(choice, Mapping):
        tools = [tool for tool in tools if tool.get("name") == _function(choice).get("name")]
    if began.text("parallel_tool_calls") == "false":
        tools = tools[:1]
    whole = len(tools) - given.integer("incomplete", 0)
    return tuple(_call(given, tool, asked, f"{len(turn)}_{at + 1}", at < whole) for at, tool in enumerate(tools))


def _call(given: RunInput, tool: Mapping[str, Json], asked: str, number: str, whole: bool) -> dict[str, Json]:
    call: dict[str, Json] = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": tool.get("name", "")}
    if tool.get("type") == "custom":
        return {"type": "custom_tool_call", **call, "input": asked, "status": "completed" if whole else "incomplete"}
    plausible = orjson.dumps(sample(tool.get("parameters") or {"type": "object"}, asked)).decode()
    arguments = given.text("arguments") or plausible
    status = "completed" if whole else "incomplete"
    return {
        "type": "function_call",
        **call,
        "arguments": arguments if whole else arguments[: len(arguments) // 2],
        "status": status,
    }


def _function(tool: Mapping[str, Json]) -> Mapping[str, Json]:
    """A tool's name and parameters, in either spelling."""
    inner = tool.get("function", tool.get("custom"))
    return {"type": tool.get("type"), **inner} if isinstance(inner, Mapping) else tool


def _answer(given: RunInput, asked: str) -> str:
    form = _turn(given)[-1].json("response_format")
    if isinstance(form, Mapping) and form.get("type") != "text":
        return _json(given, form, asked)
    outputs = mappings(given.json("toolOutputs"))
    if not outputs:
        return f"You asked: {asked} I would say it depends, but mostly on the weather."
    earlier = given.earlier(given.text("previousTaskToken"))
    names = {call.get("call_id"): call.get("name") for call in completed_calls(earlier.content if earlier else {})}
    found = [f"{names.get(output.get('call_id'))} says {_shown(output.get('output'))}" for output in outputs]
    return f"You asked: {asked} I looked it up: {'; '.join(found)}."


def _json(given: RunInput, form: Mapping[str, Json], asked: str) -> str:
    described = form.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    value = sample(schema, asked) if isinstance(schema, Mapping) else {"answer": asked}
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    if given.text("malformed") == "true":
        text = text[: len(text) // 2]
    return f"Here you are:\n```json\n{text}\n```\n" if given.text("fenced") == "true" else text


def _shown(output: Json) -> str:
    return output if isinstance(output, str) else orjson.dumps(output).decode()


def _growing(text: str) -> Sequence[str]:
    pace = -(-len(text) // PIECES) or 1
    return [text[: end + pace] for end in range(0, len(text), pace)]


def _item(name: str, kind: str, label: str, **more: Json) -> dict[str, Json]:
    return {"id": name, "type": kind, "label": label, "required": False, "advanced": True, **more}


ASSISTANT = ModelScript(
    "emulator/assistant",
    _assist,
    tool={
        "id": "619",
        "title": "Assistant",
        "description": "Calls the tools it is given, then answers with what they gave.",
        "categories": ["llm", "llm-tool-call"],
        "dynamicprice": orjson.dumps([{"inputs": {}, "price": float(TOKEN_PRICE), "priceMethod": "cpt"}]).decode(),
        "approximatelycost": "0.002",
        "parameters": [
            _item("prompt", "textarea", "Prompt", advanced=False),
            _item("system_instructions", "textarea", "Instructions"),
            _item("messages", "json-array", "Messages"),
            _item("tools", "json-array", "Tools"),
            _item("tool_choice", "text", "Tool choice"),
            _item("parallel_tool_calls", "checkbox", "Parallel tool calls"),
            _item("previousTaskToken", "text", "Task to go on from"),
            _item("toolOutputs", "json-array", "Outputs of tools"),
            _item("response_format", "json", "Response format"),
            _item("session_id", "text", "Session"),
            _item("user_id", "text", "User"),
            _item("seconds", "float", "Seconds", default="1.0"),
            _item("finish", "text", "Finish reason", default="stop"),
            _item("rounds", "integer", "Rounds of calls", default="1"),
            _item("arguments", "text", "Arguments of calls"),
            _item("incomplete", "integer", "Incomplete calls", default="0"),
            _item("fenced", "checkbox", "Code fences"),
            _item("malformed", "checkbox", "Broken JSON"),
        ],
    },
)
