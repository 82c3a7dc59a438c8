"""What a turn with a language model may hold; the service refuses anything else."""

from collections.abc import Mapping, Sequence

from wiro_async.testing._records import Json, RefusedError
from wiro_async.testing._scripts import EarlierRun, ModelScript, RunInput

TURNS = "llm-tool-call"
NEW = ("prompt", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format")
SESSION_BYTES = 256
CALL_TYPES = ("function_call", "custom_tool_call")


def check_turn(model: ModelScript, given: RunInput) -> None:
    """Refuse what contradicts itself, or goes on from a run that it cannot go on from."""
    categories = model.tool.get("categories")
    if not isinstance(categories, Sequence) or TURNS not in categories:
        return
    if not _is_one_thing(given):
        if not any(given.has(name) for name in ("prompt", "messages", "toolOutputs")):
            raise RefusedError(0, "Request parameter [prompt] required")
        raise _invalid()
    if "session_id" in given.parameters and not 0 < len(given.text("session_id").encode()) <= SESSION_BYTES:
        raise _invalid()
    if given.has("previousTaskToken"):
        earlier = given.earlier(given.text("previousTaskToken"))
        if earlier is None or not _goes_on_from(given, model, earlier):
            raise _invalid()


def mappings(value: Json) -> list[Mapping[str, Json]]:
    """The objects of a list."""
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    return [item for item in items if isinstance(item, Mapping)]


def completed_calls(content: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The calls of a run's output that may be run."""
    if content.get("finishreason") != "tool_calls":
        return []
    calls = [item for item in mappings(content.get("segments")) if item.get("type") in CALL_TYPES]
    return [call for call in calls if call.get("status") == "completed"]


def _is_one_thing(given: RunInput) -> bool:
    """A prompt, or messages, or the outputs of tools."""
    if given.has("toolOutputs"):
        return given.has("previousTaskToken") and not any(name in given.parameters for name in NEW)
    messages = given.json("messages")
    return bool(given.text("prompt").strip()) != (isinstance(messages, Sequence) and bool(messages))


def _goes_on_from(given: RunInput, model: ModelScript, earlier: EarlierRun) -> bool:
    session = given.text("session_id")
    if not earlier.succeeded or earlier.model != model.slug or not session:
        return False
    if earlier.parameters.get("session_id") != session:
        return False
    if not given.has("toolOutputs"):
        return True
    outputs = mappings(given.json("toolOutputs"))
    wanted = {str(call.get("call_id") or call.get("id")) for call in completed_calls(earlier.content)}
    return sorted(str(output.get("call_id")) for output in outputs if "output" in output) == sorted(wanted)


def _invalid() -> RefusedError:
    return RefusedError(0, "Request parameters are invalid.")
