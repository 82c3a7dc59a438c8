"""Route files and URLs to the fields that the model's parameters name. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from wiro_async._protocol.http.requests import Part, RunInput, as_file, is_file
from wiro_async._protocol.models.input_view import InputView, to_wire_form
from wiro_async._protocol.models.parameters import Parameter


@attrs.frozen
class _Files:
    """The files and URLs for one parameter, in their order."""

    parameter: Parameter
    items: tuple[object, ...]

    @property
    def uploads(self) -> list[object]:
        return [item for item in self.items if is_file(item)]

    @property
    def urls(self) -> list[str]:
        return [item for item in self.items if isinstance(item, str)]


def route_files(given: Mapping[str, object] | None, parameters: Sequence[Parameter]) -> RunInput:
    """Convert an input to the form that its model expects. Raises `InvalidInputError` for what cannot be sent.

    Files of `fileinput` and `multifileinput` go under their own name and their URLs under `{id}Url`. In a multipart
    body the unused one of the two is sent empty. Files and URLs of `combinefileinput` all go under their own name.
    Other values are converted to the form of their parameter, such as "true" for a `select`.
    """
    view = InputView.parse(parameters, given)
    files = [_Files(parameter, tuple(view.files(parameter))) for parameter in parameters if parameter.takes_files]
    # What is neither a file nor a URL is left for the service to refuse.
    groups = [group for group in files if group.items and len(group.uploads) + len(group.urls) == len(group.items)]
    routed = {name for group in groups for name in group.parameter.names}
    rest = RunInput.parse(
        {
            name: value if (parameter := view.parameters.get(name)) is None else to_wire_form(parameter, value)
            for name, value in view.values.items()
            if name not in routed
        }
    )
    is_multipart = bool(rest.files) or any(group.uploads for group in groups)
    values, uploads, combined = dict(rest.values), list(rest.files), list[Part]()
    unused = {name for group in files if not group.items for name in group.parameter.names} & values.keys()
    for name in unused:  # an empty value of the same type, such as [] for [None]
        value = values[name]
        values[name] = "" if is_multipart else value and type(value)()
    for group in groups:
        name, url_name = group.parameter.id, group.parameter.url_id
        if url_name is not None:
            # Several URLs are one text with commas, so a comma within one is escaped.
            urls = group.urls if len(group.urls) < 2 else [url.replace(",", "%2C") for url in group.urls]
            values[url_name] = ",".join(urls)
            uploads += [(name, as_file(item)) for item in group.uploads]
            if is_multipart and not group.uploads:
                values[name] = ""
        elif is_multipart:
            combined += [(name, item if isinstance(item, str) else as_file(item)) for item in group.items]
        else:
            values[name] = list(group.urls)
    return RunInput(values, tuple(uploads), tuple(combined))
