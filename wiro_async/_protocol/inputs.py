"""Reading what a user gives for parameters. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

import attrs

from wiro_async._protocol.requests import as_file, is_file, mapping_of
from wiro_async._protocol.schema import NUMBERS, Option, Parameter
from wiro_async._protocol.values import as_decimal, as_text
from wiro_async._types import File

BETWEEN_URLS = re.compile(r"\s*,\s*(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
MEDIA = {
    suffix: media
    for media, suffixes in {
        "image": "jpg jpeg png gif webp heic",
        "video": "mp4 webm mov",
        "audio": "mp3 wav m4a",
        "document": "pdf csv docx xlsx pptx txt md epub zip",
    }.items()
    for suffix in suffixes.split()
}


@attrs.frozen
class Given:
    """An input next to the parameters of its model: values, defaults, files."""

    parameters: Mapping[str, Parameter]
    values: Mapping[str, object]

    @classmethod
    def of(cls, parameters: Sequence[Parameter], values: Mapping[str, object] | None) -> Given:
        """An input of a model with these parameters. Raises `InvalidInputError` if it is no mapping."""
        return cls({parameter.id: parameter for parameter in parameters}, mapping_of(values))

    def value(self, name: str) -> object:
        """What is given for a parameter, else its default."""
        value = self.values.get(name)
        if not is_empty(value):
            return value
        return self.parameters[name].default if name in self.parameters else None

    def files(self, parameter: Parameter) -> list[object]:
        """The files and URLs that are given for a parameter, under its own name and under that of its URLs."""
        return files_in(self.values.get(parameter.id)) + files_in(self.values.get(parameter.url_id or ""))


def is_empty(value: object) -> bool:
    """Whether this is as good as not given."""
    return value is None or (isinstance(value, (str, list, tuple)) and not value)


def files_in(value: object) -> list[object]:
    """Files and URLs one by one; text may hold several URLs, separated by commas."""
    found: list[object] = []
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, str):
            found += [url for url in BETWEEN_URLS.split(item.strip()) if url]
        elif item is not None:
            found.append(item)
    return found


def name_of(file: object) -> str:
    """The name of a file, of a file behind a URL, or ""."""
    if isinstance(file, str):
        return urlsplit(file).path.rpartition("/")[2] if is_readable(file) else ""
    return as_file(file).name if is_file(file) else ""


def is_readable(url: str) -> bool:
    """Whether a URL is built as one must be, which "http://[" is not."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def media_of(file: object) -> str | None:
    """ "image", "video", "audio" or "document", as far as the content type or the name tells."""
    told = (file.content_type or "").partition("/")[0] if isinstance(file, File) else ""
    return told if told in ("image", "video", "audio") else MEDIA.get(name_of(file).rpartition(".")[2].lower())


def number_of(value: object) -> Decimal | None:
    """A number, or text of one; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return as_decimal(value)


def plain(value: object) -> str:
    """A scalar as text that is equal for equal values: "5" for 5, 5.0 and "5.0"."""
    number = number_of(value)
    if number is not None:
        return str(number.normalize())
    return as_text(value).strip() if isinstance(value, (str, bool)) else ""


def option_of(parameter: Parameter, value: object) -> Option | None:
    """The option that is meant by a value."""
    text = plain(value)
    for wanted in (value, text):
        for option in parameter.options:
            if wanted in (option.value, plain(option.value)):
                return option
    return None


def as_told(parameter: Parameter, value: object) -> object:
    """A value in the very form its parameter wants: options as they are told, numbers and booleans as such."""
    option = option_of(parameter, value) if isinstance(value, (str, bool, int, float)) else None
    if option is not None:
        return option.value
    if parameter.type == "checkbox" and value in ("true", "false"):
        return value == "true"
    number = number_of(value) if isinstance(value, str) and parameter.type in NUMBERS else None
    if number is None:
        return value
    return int(number) if number == number.to_integral_value() else float(number)
