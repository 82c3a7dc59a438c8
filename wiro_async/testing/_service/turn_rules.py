"""The rules for the turn of a conversation. The service refuses everything else."""

from collections.abc import Mapping, Sequence

from wiro_async.testing._json import Json
from wiro_async.testing._records import INVALID, RefusedError
from wiro_async.testing._scripts import EarlierRun, ModelScript, RunInput

TURNS = "llm-tool-call"
NEW = ("prompt", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format")
SESSION_BYTES = 256
CALL_TYPES = ("function_call", "custom_tool_call")


def check_turn(model: ModelScript, inputs: RunInput) -> None:
    """Raise `RefusedError` for a turn that contradicts itself or continues a run that it cannot continue."""
    categories = model.tool.get("categories")
    if not isinstance(categories, Sequence) or TURNS not in categories:
        return
    if not _has_one_content(inputs):
        if not any(inputs.has(name) for name in ("prompt", "messages", "toolOutputs")):
            raise RefusedError(0, "Request parameter [prompt] required")
        raise RefusedError(0, INVALID)
    if "session_id" in inputs.parameters and not 0 < len(inputs.text("session_id").encode()) <= SESSION_BYTES:
        raise RefusedError(0, INVALID)
    if inputs.has("previousTaskToken"):
        earlier = inputs.earlier(inputs.text("previousTaskToken"))
        if earlier is None or not _continues(inputs, model, earlier):
            raise RefusedError(0, INVALID)


def mappings(value: Json) -> list[Mapping[str, Json]]:
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    return [item for item in items if isinstance(item, Mapping)]


def completed_calls(content: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """Return the complete tool calls of a run's output."""
    if content.get("finishreason") != "tool_calls":
        return []
    calls = [item for item in mappings(content.get("segments")) if item.get("type") in CALL_TYPES]
    return [call for call in calls if call.get("status") == "completed"]


def _has_one_content(inputs: RunInput) -> bool:
    """Return whether the turn has exactly one of a prompt, messages and tool outputs."""
    if inputs.has("toolOutputs"):
        return inputs.has("previousTaskToken") and not any(name in inputs.parameters for name in NEW)
    messages = inputs.json("messages")
    return bool(inputs.text("prompt").strip()) != (isinstance(messages, Sequence) and bool(messages))


def _continues(inputs: RunInput, model: ModelScript, earlier: EarlierRun) -> bool:
    session = inputs.text("session_id")
    if not earlier.succeeded or earlier.model != model.slug or not session:
        return False
    if earlier.parameters.get("session_id") != session:
        return False
    if not inputs.has("toolOutputs"):
        return True
    outputs = mappings(inputs.json("toolOutputs"))
    wanted = {str(call.get("call_id") or call.get("id")) for call in completed_calls(earlier.content)}
    return sorted(str(output.get("call_id")) for output in outputs if "output" in output) == sorted(wanted)
