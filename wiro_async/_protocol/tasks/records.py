"""Records that the service keeps. Each one holds its `raw` mapping, so nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from wiro_async._protocol.values.json import JSON, decode_object, decode_or_none
from wiro_async._protocol.values.parsing import (
    BLANKS,
    as_decimal,
    as_dict,
    as_float,
    as_id,
    as_int,
    as_list,
    as_new_id,
    as_text,
    as_text_or_none,
    as_time,
)
from wiro_async._records.task_info import OutputRecord, TaskInfo

STREAMED = "streamed"  # our own key in a task's record

# What a response to Run shows of its task even if it is no JSON as a whole
BEGINS_AS_OBJECT = re.compile(rb'[\s\xef\xbb\xbf]*\{\s*"')
SHOWN_RESULT = re.compile(rb'"result"\s*:\s*"?(true|1|false|0)\b', re.IGNORECASE)
SHOWN_ID = re.compile(rb'"taskid"\s*:\s*"?(\d{1,20})\s*[",}]')
SHOWN_TOKEN = re.compile(rb'"socketaccesstoken"\s*:\s*"([A-Za-z0-9_.:-]{1,256})"')
STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)


def parse_task_output(entry: Mapping[str, JSON]) -> OutputRecord:
    content = entry.get("content")
    return OutputRecord(
        url=as_text_or_none(entry.get("url")),
        name=as_text(entry.get("name")),
        content_type=as_text(entry.get("contenttype")),
        size=as_int(entry.get("size")),
        content=as_dict(content) or ({"raw": content} if isinstance(content, str) else {}),
        raw=entry,
    )


def parse_task(record: Mapping[str, JSON]) -> TaskInfo:
    get = record.get
    return TaskInfo(
        id=as_id(get("id")) or as_id(get("taskid")),
        token=as_id(get("socketaccesstoken")) or None,
        model=_model(record),
        status=as_text(get("status")),
        exit_code=as_int(get("pexit")),
        parameters=as_dict(get("parameters")),
        outputs=tuple(parse_task_output(item) for item in as_list(get("outputs")) if isinstance(item, dict)),
        created_at=moment(get("createtime")),
        started_at=moment(get("starttime")),
        ended_at=moment(get("endtime")),
        elapsed=as_float(get("elapsedseconds")),
        cost=as_decimal(get("totalcost")),
        log=as_text(get("debugoutput")),
        error_log=as_text(get("debugerror")),
        raw=record,
        streamed=as_dict(get(STREAMED)),
    )


def with_streamed(info: TaskInfo, content: dict[str, JSON]) -> TaskInfo:
    """A task with the text that messages brought. It stays with the raw record, and so in a journal."""
    return attrs.evolve(info, streamed=content, raw={**info.raw, STREAMED: content})


@attrs.frozen
class Submitted:
    """The response to a run: the ids of the task that was made."""

    task_id: str
    token: str | None = attrs.field(repr=False)

    @classmethod
    def from_wire(cls, answer: Mapping[str, JSON]) -> Submitted | None:
        """The ids in a response to Run; None if there are none."""
        task_id, token = as_new_id(answer.get("taskid")), as_id(answer.get("socketaccesstoken"))
        return cls(task_id, token or None) if task_id or token else None


def parse_run_ids(body: bytes) -> dict[str, JSON] | None:
    """The object with the ids in the body of a response to Run; None if it names no task.

    A body that is cut off may still show them. They are worth more than a search, which may find an equal run's task.
    But a page, or an error that repeats the request, may show ids of other tasks: only a success that shows one task,
    once and whole, is taken.
    """
    answer = decode_object(body, "taskid")
    if answer is not None:
        return answer if Submitted.from_wire(answer) else None
    task_ids, tokens = list(SHOWN_ID.finditer(body)), list(SHOWN_TOKEN.finditer(body))
    results = {found[1].lower() for found in SHOWN_RESULT.finditer(body)}
    is_success = results <= {b"true", b"1"} and (results or (task_ids and tokens))
    if not BEGINS_AS_OBJECT.match(body) or not is_success or max(len(task_ids), len(tokens)) != 1:
        return None
    if any(_depth(body, found.start()) != 1 for found in (*task_ids, *tokens)):
        return None
    return {
        "taskid": "".join(found[1].decode() for found in task_ids),
        "socketaccesstoken": "".join(found[1].decode() for found in tokens),
    }


def _depth(body: bytes, place: int) -> int:
    """How many objects and lists a place in JSON is in."""
    brackets = [found[0] for found in STRING_OR_BRACKET.finditer(body, 0, place)]
    return sum((bracket in b"{[") - (bracket in b"}]") for bracket in brackets if len(bracket) == 1)


def tasks_of(answer: Mapping[str, JSON]) -> list[TaskInfo]:
    """The tasks of a `tasklist`, which may be absent or empty."""
    return [parse_task(item) for item in as_list(answer.get("tasklist")) if isinstance(item, dict)]


def decoded(value: JSON) -> JSON:
    """A value that may be JSON text: the value inside, else itself."""
    if isinstance(value, str) and (text := value.lstrip(BLANKS))[:1] in ("{", "["):
        inner = decode_or_none(text)
        return value if inner is None else inner
    return value


def _model(record: Mapping[str, JSON]) -> str:
    owner, project = as_text(record.get("modelslugowner")), as_text(record.get("modelslugproject"))
    return f"{owner}/{project}" if owner and project else ""


def moment(value: JSON) -> datetime | None:
    """A unix time as a datetime in UTC; None where it is absent, "0" or beyond the calendar."""
    seconds = as_time(value)
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
