"""Text messages that are known from their first bytes, so that one which a newer one replaces is never decoded.

Only what surely is an LLM's text so far is known so: plain values, then one of the keys that hold text. Anything
written in another way is no less welcome, but has to be decoded first.
"""

from __future__ import annotations

import re
from typing import Final

from wiro_async._protocol import status as states
from wiro_async._protocol.json import JSON, decode_or_none

_SPACE: Final = rb"[ \t\r\n]*+"
_TEXT_KEY: Final = rb"(?:raw|thinking|answer|segments)"


def _fields(last: bytes, quote: bytes = b'"') -> bytes:
    """Names with plain values, up to a name that is the last."""
    value = quote + rb'[^"\\]*+' + quote + rb"|-?[\d.eE+-]++|true|false|null"
    name = quote + b"(?!" + last + quote + rb')[^"\\]++' + quote
    field = name + _SPACE + b":" + _SPACE + b"(?:" + value + b")" + _SPACE + b"," + _SPACE
    return b"(?P<fields>(?:" + field + b")*+)" + quote + last + quote + _SPACE + b":" + _SPACE


def _unnamed(pattern: bytes) -> bytes:
    return pattern.replace(b"(?P<fields>", b"(?:")


_TEXT: Final = rb"\{" + _SPACE + _fields(_TEXT_KEY)
_TEXT_IN_TEXT: Final = rb'"\{' + _SPACE + _fields(_TEXT_KEY, rb"\\\"")
_BODY: Final = re.compile(_SPACE + _TEXT)
_FRAME: Final = re.compile(
    _SPACE + rb"\{" + _SPACE + _fields(b"message") + b"(?:" + _unnamed(_TEXT) + b"|" + _unnamed(_TEXT_IN_TEXT) + b")"
)
_HEAD_BYTES: Final = 4096


def text_envelope(frame: bytes) -> dict[str, JSON] | None:
    """What stands before the `message` of a `task_output` frame, if that is text so far; None for any other frame."""
    if not frame.endswith(b"}"):
        return None
    envelope = _told(_FRAME.match(frame, 0, _HEAD_BYTES))
    return envelope if envelope is not None and envelope.get("type") == states.OUTPUT else None


def text_body(data: str) -> dict[str, JSON] | None:
    """What stands before the text so far in the data of a server-sent event; None for other data."""
    return _told(_BODY.match(data[:_HEAD_BYTES].encode(errors="replace")))


def _told(found: re.Match[bytes] | None) -> dict[str, JSON] | None:
    told = decode_or_none(b"{" + found["fields"] + b'"":0}') if found else None
    return told if isinstance(told, dict) else None
