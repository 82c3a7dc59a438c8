"""Read an input by the parameters of its model. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import attrs

from wiro_async._protocol.http.requests import as_file, is_file, list_items, to_mapping
from wiro_async._protocol.models.parameters import NUMBERS, Option, Parameter
from wiro_async._protocol.values.json import to_number
from wiro_async._protocol.values.parsing import as_text
from wiro_async._types import File

BETWEEN_URLS = re.compile(r",(?=\s*[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
MAX_EXPONENT = 999_999  # decimals cannot compute beyond it
MAX_DIGITS = 18  # of numbers in text that are converted: a float would change longer ones
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
class InputView:
    """An input next to the parameters of its model: values, defaults, files."""

    parameters: Mapping[str, Parameter]
    values: Mapping[str, object]

    @classmethod
    def parse(cls, parameters: Sequence[Parameter], values: Mapping[str, object] | None) -> InputView:
        """View an input of a model with these parameters. Raises `InvalidInputError` if it is no mapping."""
        given = {
            name: to_number(value) if isinstance(value, Decimal) else value
            for name, value in to_mapping(values).items()
        }
        return cls({parameter.id: parameter for parameter in parameters}, given)

    def value(self, name: str) -> object:
        """The value for a parameter, else its default."""
        value = self.values.get(name)
        if not is_empty(value):
            return value
        return self.parameters[name].default if name in self.parameters else None

    def files(self, parameter: Parameter) -> list[object]:
        """The files and URLs for a parameter, under its own name and under `{id}Url`."""
        given = self.values.get(parameter.id), self.values.get(parameter.url_id or "")
        return [file for value in given for file in split_files(value, parameter.type != "fileinput")]


def is_empty(value: object) -> bool:
    """Whether a value means the same as none."""
    if value is None or isinstance(value, str):
        return not value
    items = list_items(value)
    return items is not None and not len(items)


def split_files(value: object, several: bool = True) -> list[object]:
    """Split a value into files and URLs. Text may hold several URLs, separated by commas, if `several` are allowed."""
    found: list[object] = []
    items = list_items(value)
    for item in (value,) if items is None else items:
        if isinstance(item, str):
            urls = BETWEEN_URLS.split(item) if several else (item,)
            found += [url for url in map(str.strip, urls) if url]
        elif item is not None:
            found.append(item)
    return found


def file_name(file: object) -> str:
    """The name of a file, of a file behind a URL, or ""."""
    if isinstance(file, str):
        return urlsplit(file).path.rpartition("/")[2] if is_readable(file) else ""
    return as_file(file).name if is_file(file) else ""


def is_readable(url: str) -> bool:
    """Whether a URL can be parsed, unlike "http://["."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def media_kind(file: object) -> str | None:
    """Guess "image", "video", "audio" or "document" by the content type or the name."""
    kind = (file.content_type or "").partition("/")[0] if isinstance(file, File) else ""
    return kind if kind in ("image", "video", "audio") else MEDIA.get(file_name(file).rpartition(".")[2].lower())


def parse_number(value: object) -> Decimal | None:
    """Parse a number, or text of one; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(as_text(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= MAX_EXPONENT else None


def normalize(value: object) -> str:
    """Write a scalar as text that is equal for equal values: "5" for 5, 5.0 and "5.0"."""
    number = parse_number(value)
    if number is not None:
        return str(number.normalize())
    return as_text(value).strip() if isinstance(value, (str, bool)) else ""


def find_option(parameter: Parameter, value: object) -> Option | None:
    """Find the option that a scalar stands for: the one with the same text, else one with an equal number."""
    if not parameter.options or not isinstance(value, (str, bool, int, float)):
        return None
    text = as_text(value)
    exact = next((option for option in parameter.options if option.value == text), None)
    if exact is not None:
        return exact
    normal = normalize(value)
    return next((option for option in parameter.options if normalize(option.value) == normal), None)


def to_wire_form(parameter: Parameter, value: object) -> object:
    """Convert a value to the form that its parameter expects: the option's own text, a number, a boolean."""
    option = find_option(parameter, value)
    if option is not None:
        return option.value
    if not isinstance(value, str):
        return value
    if parameter.type == "checkbox" and value in ("true", "false"):
        return value == "true"
    number = parse_number(value) if parameter.type in NUMBERS else None
    if number is None or abs(number.adjusted()) > MAX_DIGITS:
        return value
    return int(number) if number == number.to_integral_value() else float(number)
