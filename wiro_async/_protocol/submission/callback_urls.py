"""Callbacks: URLs that nobody can guess, and the tasks that a body names. https://wiro.ai/docs/callbacks

The service does not document what it posts. So a URL proves where a call belongs, and a body only hints at a task.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

import attrs

from wiro_async._errors import ConfigurationError
from wiro_async._protocol.values.json import JSON, decode_or_none
from wiro_async._protocol.values.parsing import as_text, parse_url

Verdict: TypeAlias = Literal["good", "forged", "expired"]
PURPOSE = b"wiro_async callback 1:"
NONCE_BYTES, TIME_BYTES = 16, 8
SEGMENT = re.compile(r"([A-Za-z0-9_-]{32})\.([A-Za-z0-9_-]{43})")
MAX_IDS, MAX_DEPTH = 16, 6
MAX_LOOKS = 1000  # values that are looked at
MAX_FIELDS = 1000  # of a form
PART_NAME = re.compile(rb"(?i)\r?\nContent-Disposition:[^\r\n]*;\s*name=\"?([^\";\r\n]+)")
BOUNDARY = re.compile(r"(?i);\s*boundary=(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))")
NESTED_NAME = re.compile(r"(.+)\[(\w+)\]")  # as PHP writes it: tasklist[0][id]

TASK_ID = re.compile(r"\d{1,20}")
SHORTEST_BARE_TOKEN = 8  # what is shorter is a word: "ok", "true", "done"
TOKEN = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
ID_KEYS = ("taskid", "id")
TOKEN_KEYS = ("socketaccesstoken", "tasktoken", "token")


@attrs.frozen
class TaskIds:
    """The task that a callback claims to be about: its id, its token, or both."""

    task_id: str | None
    token: str | None = attrs.field(repr=False)


def segment(secret: bytes, nonce: bytes, expires: float) -> str:
    """The last part of a callback's path.

    Args:
        nonce: 16 random bytes.
        expires: the unix time after which it is void.
    """
    payload = nonce + int(expires).to_bytes(TIME_BYTES, "big")
    return f"{_text(payload)}.{_text(_signature(secret, payload))}"


def verdict(secrets: Sequence[bytes], segment: str, now: float) -> Verdict:
    """Whether the last part of a path was made with one of these secrets, and still holds at a unix time."""
    found = SEGMENT.fullmatch(segment)
    if found is None:
        return "forged"
    # Texts are compared, as several texts stand for the same bytes: the last letter has bits that do not count.
    payload = urlsafe_b64decode(found[1])
    signed = [hmac.compare_digest(_text(_signature(secret, payload)), found[2]) for secret in secrets]
    if not any(signed):
        return "forged"
    return "good" if now <= int.from_bytes(payload[NONCE_BYTES:], "big") else "expired"


def url_below(base: str, segment: str) -> str:
    """The URL of a callback below a base URL. Raises `ConfigurationError` if the base is no such URL."""
    parts = parse_url(base)
    if parts is None or parts.fragment:
        raise ConfigurationError(
            "base is not a URL that the service can call; give the one where the receiver is mounted, such as "
            "https://my.app/wiro, without a #"
        )
    path, mark, query = base.partition("?")
    return f"{path.rstrip('/')}/{segment}{mark}{query}"


def segment_of(url: str) -> str:
    """The last part of a URL's path; Litestar hands paths over with a slash behind them."""
    return re.split("[?#]", url, maxsplit=1)[0].rstrip("/").rpartition("/")[2]


def ids_in(body: bytes, content_type: str) -> list[TaskIds]:
    """The tasks that a body names, whatever its kind: a Detail envelope, a task, plain ids; JSON, form or text.

    The search is limited, so that no body can take long. Ids beyond the limits are not found.
    """
    found: list[TaskIds] = []
    for ids in islice(_ids(_value(body, content_type), MAX_DEPTH), MAX_LOOKS):
        if ids is not None and ids not in found:
            found.append(ids)
        if len(found) == MAX_IDS:
            break
    return found


def _value(body: bytes, content_type: str) -> JSON:
    value = decode_or_none(body)
    if value is not None:
        return value
    text = body.decode("utf-8-sig", errors="replace").strip()
    if content_type.lower().startswith("multipart/form-data"):
        return _form(_multipart(body, content_type))
    fields = "&".join(text.split("&", MAX_FIELDS)[:MAX_FIELDS])
    return _form(parse_qsl(fields) if "=" in fields else ()) or text


def _multipart(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    boundary = BOUNDARY.search(content_type)
    if boundary is None:
        return
    delimiter = b"--" + (boundary[1] or boundary[2]).encode("latin-1", errors="replace")
    for part in body.split(delimiter, MAX_FIELDS)[1:MAX_FIELDS]:
        head, _, payload = part.partition(b"\r\n\r\n")
        if name := PART_NAME.search(head):
            yield name[1].decode(errors="replace"), payload.decode(errors="replace").strip()


def _form(pairs: Iterable[tuple[str, str]]) -> JSON:
    fields: dict[str, JSON] = {}
    for name, value in pairs:
        nested = NESTED_NAME.fullmatch(name)
        inner = fields.setdefault(nested[1], {}) if nested else None
        if nested and isinstance(inner, dict):
            inner[nested[2]] = value
        else:
            fields[name] = value
    return fields


def _ids(value: JSON, depth: int) -> Iterator[TaskIds | None]:
    """The ids in a value. Yields None for each place without ids, so that the caller can limit the search."""
    yield None
    match value:
        case _ if depth == 0:
            return
        case dict():
            ids = _ids_of(value)
            if ids is not None:
                yield ids
                return
            for item in value.values():
                if isinstance(item, (dict, list)) or as_text(item)[:1] in ("{", "["):
                    yield from _ids(item, depth - 1)
        case list():
            for item in value[:MAX_IDS]:
                yield from _ids(item, depth - 1)
        case str() if value[:1] in ("{", "["):
            yield from _ids(decode_or_none(value), depth - 1)
        case str() | int():
            yield from _bare(as_text(value))


def _ids_of(value: Mapping[str, JSON]) -> TaskIds | None:
    named = {re.sub(r"[_-]", "", name).lower(): as_text(item).strip() for name, item in value.items()}
    task_id = next((named[key] for key in ID_KEYS if TASK_ID.fullmatch(named.get(key, ""))), None)
    token = next((named[key] for key in TOKEN_KEYS if TOKEN.fullmatch(named.get(key, ""))), None)
    return TaskIds(task_id, token) if task_id or token else None


def _bare(text: str) -> Iterator[TaskIds]:
    if TASK_ID.fullmatch(text):
        yield TaskIds(text, None)
    elif TOKEN.fullmatch(text) and len(text) >= SHORTEST_BARE_TOKEN:
        yield TaskIds(None, text)


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, PURPOSE + payload, "sha256")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
