"""Recognises the task of a run by its echo.

The service gives a run no name of ours. A task echoes its parameters, but mostly as text: 4 comes back as "4", a list
as JSON text. So both sides are written in one canonical form and compared. A run with a callback is recognised by an id
in the query of its callback URL instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import RunInput, form_text
from wiro_async._protocol.http.wire_urls import with_query
from wiro_async._protocol.values.json import JSON, decode_or_none, encode
from wiro_async._protocol.values.parsing import as_text, parse_url
from wiro_async._records.task_info import TaskInfo

INTENT = "wiro_intent"
BROKEN = "\ufffd"
WIDEST = 6  # letters of one character in a fingerprint, such as "\\u200b"
NOT_PARAMETERS = frozenset({"callbackurl", "projectid"})


@attrs.frozen
class Intent:
    """What a run is meant to be."""

    model: str  # "owner/model"
    fingerprint: str = attrs.field(repr=False)  # equal for runs with equal parameters
    callback_url: str | None = attrs.field(repr=False)  # the run's callback URL, with an id of its own in the query
    ignored: frozenset[str]  # parameters that carry files: the service echoes them in forms of its own
    project_id: str | None = None  # the project to bill, if it is named
    values: Mapping[str, JSON] = attrs.field(factory=dict[str, JSON], repr=False, eq=False)  # its plain parameters

    @classmethod
    def of(cls, model: str, given: RunInput, callback_url: str | None, project_id: str | int | None = None) -> Intent:
        names = {name for name, _ in given.parts}
        ignored = frozenset(names | {f"{name}Url" for name in names})
        project = None if project_id is None else str(project_id)
        return cls(model, fingerprint(model, given.values, ignored), callback_url, ignored, project, given.values)

    @property
    def shape(self) -> str:
        """Text that is equal for runs with the same model and names of parameters, which are echoed in the same way."""
        names = sorted(name for name, value in self.values.items() if value not in (None, ""))
        return f"{self.model.lower()} {names!r} {sorted(self.ignored)!r}"

    def matches(self, task: TaskInfo) -> bool:
        """Whether a task's echo is that of this run."""
        # A run for a named project is none for another. Which project an unnamed one is, nobody can say.
        project = as_text(task.raw.get("projectid"))
        if self.project_id and project not in ("", self.project_id):
            return False
        echo = task.raw.get("callbackurl")
        if echo and isinstance(echo, str):
            return self.callback_url is not None and _is_same(intent_of_echo(echo), intent_of_echo(self.callback_url))
        return _is_same(fingerprint(task.model, task.parameters, self.ignored), self.fingerprint)


def fingerprint(model: str, values: Mapping[str, JSON], ignored: frozenset[str]) -> str:
    """Text that is equal for equal runs, in whichever form their values are written."""
    comparable = {
        name: canonical(value)
        for name, value in values.items()
        if name not in ignored and name.lower() not in NOT_PARAMETERS and value not in (None, "")
    }
    return f"{model.lower()} {sorted(comparable.items())!r}"


def with_intent(callback_url: str, intent_id: str) -> str:
    """Add an id to the query of a callback URL, by which its task is recognised.

    Raises:
        InvalidInputError: it is not a URL. It is not shown, because it may hold a secret.
    """
    if parse_url(callback_url) is None:
        raise InvalidInputError(
            message="callback_url is not a URL that the service can call; give one that starts with https:// or "
            "http://, and a host"
        )
    return with_query(callback_url, f"{INTENT}={intent_id}")


def intent_of(callback_url: str) -> str | None:
    """The id that `with_intent` put there; None if there is none."""
    return dict(parse_qsl(urlsplit(callback_url).query)).get(INTENT)


def _is_same(echo: str, own: str) -> bool:
    """Whether an echo may be that of a text. Each broken byte in it may stand for a part of a character.

    A run must not count as absent, and be sent and billed again, because its echo has a broken byte.
    """
    if echo == own or BROKEN not in echo:
        return echo == own
    place = 0
    pieces = echo.split(BROKEN)
    for piece in pieces:
        place = own.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    hidden = len(own) - sum(map(len, pieces))
    return own.startswith(pieces[0]) and own.endswith(pieces[-1]) and hidden <= WIDEST * (len(pieces) - 1)


def intent_of_echo(callback_url: str) -> str:
    """The id in an echoed callback URL, or the URL itself if there is none. The echo may be HTML-escaped, or no URL."""
    try:
        return intent_of(callback_url.replace("&amp;", "&")) or callback_url
    except ValueError:
        return callback_url


def canonical(value: JSON) -> str:
    """A value's text in one form, such as "4.5" for 4.50; odd text stays as it is."""
    text = form_text(value).strip()
    try:
        if text[:1] in ("{", "["):
            inner = decode_or_none(text)
            return text if inner is None else encode(_sorted(inner)).decode()
        if text[:1].isalpha():  # most are prompts
            return text
        number = Decimal(text)
        return str(number.normalize()) if number.is_finite() else text
    except (ArithmeticError, RecursionError, ValueError):
        return text


def _sorted(value: JSON) -> JSON:
    match value:
        case dict():
            return {name: _sorted(value[name]) for name in sorted(value)}
        case list():
            return [_sorted(item) for item in value]
        case None:
            return None
        case _:
            return canonical(value)
