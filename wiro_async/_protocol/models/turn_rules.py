"""The rules for the input of a turn with an LLM. https://wiro.ai/docs/run-a-model"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from wiro_async._protocol.http.requests import has_file
from wiro_async._protocol.models.input_view import is_empty
from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_dict, as_list, as_text

NEW: Final = ("prompt", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format")
TURN_NAMES: Final = (*NEW, "previousTaskToken", "toolOutputs", "session_id")
SESSION_BYTES: Final = 256


def turn_problems(given: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """The contradictions in the input of a turn, each as (name, what was given, what is allowed).

    A turn is a prompt, or messages, or the outputs of the tools that the previous task has called.
    """
    prompt, messages, session = (given.get(name) for name in ("prompt", "messages", "session_id"))
    if not is_empty(given.get("toolOutputs")):
        if is_empty(given.get("previousTaskToken")):
            yield "previousTaskToken", "nothing", "the token of the task that called the tools"
        for name in NEW:
            if not is_empty(given.get(name)):
                yield name, "together with toolOutputs", "nothing: a turn of tool outputs has nothing new"
    elif not is_empty(prompt) and not is_empty(messages):
        yield "messages", "together with prompt", "either messages or prompt"
    elif is_empty(messages) and (is_empty(prompt) or (isinstance(prompt, str) and not prompt.strip())):
        yield "prompt", "nothing", "text, or messages instead"
    if not is_empty(given.get("previousTaskToken")) and is_empty(session):
        yield "session_id", "nothing", "the session_id of the task that previousTaskToken names"
    if isinstance(session, str) and (size := len(session.encode(errors="surrogatepass"))) > SESSION_BYTES:
        yield "session_id", f"{size} bytes", f"at most {SESSION_BYTES} bytes of UTF-8"


def continuation(turn: Mapping[str, object], outputs: Sequence[Mapping[str, JSON]]) -> dict[str, object]:
    """The input that continues a turn with the outputs of its tools: nothing new, and no file a second time."""
    kept = {name: value for name, value in turn.items() if name not in NEW and not has_file(value)}
    return {**kept, "toolOutputs": outputs}


def tool_names(tools: object) -> list[str]:
    """The names of declared tools in both spellings, also where the declarations are JSON text."""
    declared = as_list(tools) if isinstance(tools, str) else tools if isinstance(tools, (list, tuple)) else ()
    return [
        as_text(tool.get("name")) or as_text(as_dict(tool.get("function")).get("name"))
        for tool in map(as_dict, declared)
    ]
