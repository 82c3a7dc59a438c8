"""Text messages that are known from their first bytes, so that one which a newer one replaces is never decoded.

The bytes before the first key that holds text are closed like an object, and decoded: only if they tell an output
with such a key in its place is the rest left alone. Whatever is written in another way has to be decoded first.
"""

from __future__ import annotations

import re
from typing import Final

from wiro_async._protocol.tasks import status as states
from wiro_async._protocol.values.json import JSON, decode_or_none

_TEXT_KEY: Final = re.compile(rb'"(?:raw|thinking|answer|segments)(\\?)"\s*+:')
_HEAD_BYTES: Final = 2048


def parse_text_head(frame: bytes) -> dict[str, JSON] | None:
    """What stands before the text so far in a `task_output` frame; None for any other frame."""
    found = _TEXT_KEY.search(frame, 0, _HEAD_BYTES)
    if found is None or not frame.endswith(b"}"):
        return None
    is_in_text = bool(found[1])  # JSON within JSON: its quotes are escaped
    head = decode_or_none(frame[: found.start()] + (b'"\\":0}"}' if is_in_text else b'"":0}}'))
    if not isinstance(head, dict) or head.get("type") != states.OUTPUT:
        return None
    message = head.get("message")
    if isinstance(message, str) and is_in_text:
        message = decode_or_none(message)
    return head if isinstance(message, dict) and "" in message else None


def first_text_key(frame: bytes) -> int | None:
    """Where the first key that holds text stands in such a frame; None where that is JSON text within JSON."""
    found = _TEXT_KEY.search(frame, 0, _HEAD_BYTES)
    return found.start() if found and not found[1] else None


def parse_event_head(data: str) -> dict[str, JSON] | None:
    """What stands before the text so far in the data of a server-sent event; None for other data."""
    start = data[:_HEAD_BYTES].encode(errors="replace")
    found = _TEXT_KEY.search(start)
    head = decode_or_none(start[: found.start()] + b'"":0}') if found and data.endswith("}") else None
    return head if isinstance(head, dict) and "" in head else None
