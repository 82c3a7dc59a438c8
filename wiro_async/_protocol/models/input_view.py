"""Reading what a user gives for parameters. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

import attrs

from wiro_async._protocol.http.requests import as_file, is_file, list_items, to_mapping
from wiro_async._protocol.models.parameters import NUMBERS, Option, Parameter
from wiro_async._protocol.values.parsing import as_text
from wiro_async._protocol.values.scalars import to_builtin
from wiro_async._types import File

BETWEEN_URLS = re.compile(r",(?=\s*[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
HUGE = 999_999  # the exponent beyond which decimals cannot be reckoned with
LONG = 18  # digits of numbers that are left as the text they are: floats would change them
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
        """An input of a model with these parameters. Raises `InvalidInputError` if it is no mapping."""
        given = {name: to_builtin(value) for name, value in to_mapping(values).items()}
        return cls({parameter.id: parameter for parameter in parameters}, given)

    def value(self, name: str) -> object:
        """What is given for a parameter, else its default."""
        value = self.values.get(name)
        if not is_empty(value):
            return value
        return self.parameters[name].default if name in self.parameters else None

    def files(self, parameter: Parameter) -> list[object]:
        """The files and URLs that are given for a parameter, under its own name and under that of its URLs."""
        given = self.values.get(parameter.id), self.values.get(parameter.url_id or "")
        return [file for value in given for file in files_in(value, parameter.type != "fileinput")]


def is_empty(value: object) -> bool:
    """Whether this is as good as not given."""
    if value is None or isinstance(value, str):
        return not value
    items = list_items(value)
    return items is not None and not len(items)


def files_in(value: object, several: bool = True) -> list[object]:
    """Files and URLs one by one; text may hold several URLs, separated by commas, where several are taken."""
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
    """Whether a URL is built as one must be, which "http://[" is not."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def media_kind(file: object) -> str | None:
    """ "image", "video", "audio" or "document", as far as the content type or the name tells."""
    told = (file.content_type or "").partition("/")[0] if isinstance(file, File) else ""
    return told if told in ("image", "video", "audio") else MEDIA.get(file_name(file).rpartition(".")[2].lower())


def parse_number(value: object) -> Decimal | None:
    """A number, or text of one; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(as_text(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= HUGE else None


def plain(value: object) -> str:
    """A scalar as text that is equal for equal values: "5" for 5, 5.0 and "5.0"."""
    number = parse_number(value)
    if number is not None:
        return str(number.normalize())
    return as_text(value).strip() if isinstance(value, (str, bool)) else ""


def find_option(parameter: Parameter, value: object) -> Option | None:
    """The option that is meant by a scalar: the one of the same text, else one of an equal number."""
    if not parameter.options or not isinstance(value, (str, bool, int, float)):
        return None
    text = as_text(value)
    exact = next((option for option in parameter.options if option.value == text), None)
    if exact is not None:
        return exact
    wanted = plain(value)
    return next((option for option in parameter.options if plain(option.value) == wanted), None)


def to_wire_form(parameter: Parameter, value: object) -> object:
    """A value in the very form its parameter wants: options as they are told, numbers and booleans as such."""
    option = find_option(parameter, value)
    if option is not None:
        return option.value
    if not isinstance(value, str):
        return value
    if parameter.type == "checkbox" and value in ("true", "false"):
        return value == "true"
    number = parse_number(value) if parameter.type in NUMBERS else None
    if number is None or abs(number.adjusted()) > LONG:
        return value
    return int(number) if number == number.to_integral_value() else float(number)
