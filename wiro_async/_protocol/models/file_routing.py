"""Where files and URLs go, by a model's own parameters. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from wiro_async._protocol.http.requests import Part, RunInput, as_file, is_file
from wiro_async._protocol.models.input_view import InputView, to_wire_form
from wiro_async._protocol.models.parameters import Parameter
from wiro_async._protocol.values.json import JSON


@attrs.frozen
class _Files:
    """What was given for one parameter that takes files, in its order."""

    parameter: Parameter
    items: tuple[object, ...]

    @property
    def is_combined(self) -> bool:
        return self.parameter.url_id is None

    @property
    def uploads(self) -> list[object]:
        return [item for item in self.items if is_file(item)]

    @property
    def urls(self) -> list[str]:
        return [item for item in self.items if isinstance(item, str)]


def route_files(given: Mapping[str, object] | None, parameters: Sequence[Parameter]) -> RunInput:
    """An input as its model wants it sent. Raises `InvalidInputError` for what cannot be sent.

    Files of `fileinput` and `multifileinput` go under their own name, their URLs under `{id}Url`, and in a multipart
    body the unused one of the two is sent empty; those of `combinefileinput` all go under their own name.
    Other values take the form the model wants, such as "true" for a `select`.
    """
    found = InputView.parse(parameters, given)
    told = [_Files(parameter, tuple(found.files(parameter))) for parameter in parameters if parameter.takes_files]
    groups = [group for group in told if group.items and _is_clean(group)]
    taken = {name for group in groups for name in group.parameter.names}
    rest = {name: _told(found, name, value) for name, value in found.values.items() if name not in taken}
    plain = RunInput.parse(rest)
    multipart = bool(plain.files) or any(group.uploads for group in groups)
    values, combined = dict(plain.values), list[Part]()
    unused = {name for group in told if not group.items for name in group.parameter.names} & values.keys()
    values |= {name: "" if multipart else _nothing(values[name]) for name in unused}
    for group in groups:
        _place(group, multipart, values, combined)
    uploads = (
        (group.parameter.id, as_file(item)) for group in groups if not group.is_combined for item in group.uploads
    )
    return RunInput(values, (*plain.files, *uploads), tuple(combined))


def _told(found: InputView, name: str, value: object) -> object:
    parameter = found.parameters.get(name)
    return value if parameter is None else to_wire_form(parameter, value)


def _nothing(value: JSON) -> JSON:
    """An empty value, such as [] for [None]."""
    return value and type(value)()


def _is_clean(group: _Files) -> bool:
    return len(group.uploads) + len(group.urls) == len(group.items)


def _place(group: _Files, multipart: bool, values: dict[str, JSON], combined: list[Part]) -> None:
    name, url_name = group.parameter.id, group.parameter.url_id
    if group.is_combined and not multipart:
        values[name] = list(group.urls)
    elif url_name is None:
        combined += [(name, item if isinstance(item, str) else as_file(item)) for item in group.items]
    else:
        urls = group.urls if len(group.urls) < 2 else [url.replace(",", "%2C") for url in group.urls]
        values[url_name] = ",".join(urls)
        if multipart and not group.uploads:
            values[name] = ""
