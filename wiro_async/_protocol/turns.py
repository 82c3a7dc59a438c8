"""What a turn with an LLM may hold. https://wiro.ai/docs/completions-api"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

NEW: Final = ("prompt", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format")
TURN_NAMES: Final = (*NEW, "previousTaskToken", "toolOutputs", "session_id")
SESSION_BYTES: Final = 256


def turn_problems(given: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """What contradicts itself in a turn, each as (name, what was given, what is allowed).

    A turn is a prompt, or messages, or the outputs of the tools that the task before has called.
    """
    if given.get("toolOutputs"):
        yield from _continuation_problems(given)
    elif given.get("prompt") and given.get("messages"):
        yield "messages", "together with prompt", "either messages or prompt"
    elif not given.get("prompt") and not given.get("messages"):
        yield "prompt", "nothing", "text, or messages instead"
    session = given.get("session_id")
    if isinstance(session, str) and len(session.encode(errors="surrogatepass")) > SESSION_BYTES:
        yield "session_id", f"{len(session)} characters", f"at most {SESSION_BYTES} bytes of UTF-8"


def _continuation_problems(given: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    if not given.get("previousTaskToken"):
        yield "previousTaskToken", "nothing", "the token of the task that called the tools"
    for name in NEW:
        if given.get(name):
            yield name, "together with toolOutputs", "nothing: a turn of tool outputs has nothing new"
