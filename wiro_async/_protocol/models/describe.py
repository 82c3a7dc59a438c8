"""Describe in words what a parameter allows, and what was given instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from reprlib import Repr

from wiro_async._protocol.http.requests import is_file
from wiro_async._protocol.models.input_view import file_name, is_readable, media_kind
from wiro_async._protocol.models.parameters import CHOICES, NUMBERS, TEXTS, Parameter
from wiro_async._protocol.values.json import MAX_INT_BITS
from wiro_async._redaction import redact, shorten_url

LOCAL_PATH = re.compile(r"[\\/]|\.\w{1,5}$")
URL = re.compile(r"[a-z][a-z0-9+.-]+:(//|[a-z]+/)", re.IGNORECASE)
HOST = re.compile(r"(//)?([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?/", re.IGNORECASE)
ALLOWED_MEDIA = {"image": ("image",), "video": ("video",), "audio": ("audio", "video")}  # videos have sound
SHOWN_OPTIONS = 20


class _Short(Repr):
    """Values cut short. Secrets are cut out before: half of one would not be recognised."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redact(x), level)

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > MAX_INT_BITS:  # Python writes no more digits, and `reprlib` differs from version to version
            return "a number of over 4300 digits"
        return super().repr_int(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        return repr(x) if x is None or isinstance(x, (bool, float)) else f"a {type(x).__name__}"


short = _Short()
short.maxstring = short.maxother = 60


def describe(value: object) -> str:
    """Describe a value: shortened, and without the secrets that a URL may hold."""
    match value:
        case bytes() | bytearray() | memoryview():
            return f"{type(value).__name__}, which must be wrapped as File(data, name='…')"
        case str() if URL.match(value):
            return f"a URL ({shorten_url(value)})"
        case _ if is_file(value):
            return f"a file ({file_name(value) or 'without a name'})"
    return short.repr(value)


def describe_allowed(parameter: Parameter) -> str:
    if parameter.type in TEXTS:
        return f"text{_bounds(parameter)}"
    if parameter.type in NUMBERS:
        return f"{'a whole number' if parameter.type == 'integer' else 'a number'}{_bounds(parameter)}"
    if parameter.type in CHOICES:
        if not parameter.options:
            return "text"
        shown = ", ".join(repr(option.value) for option in parameter.options[:SHOWN_OPTIONS])
        return f"one of {shown}{' and more' if len(parameter.options) > SHOWN_OPTIONS else ''}"
    return {
        "checkbox": "True or False",
        "json": "a mapping or a list, or JSON text of one",
        "json-array": "a list, or JSON text of one",
        "fileinput": "a file or a URL",
        "multifileinput": "files or URLs",
        "combinefileinput": "files or URLs",
    }.get(parameter.type, "a value")


def find_file_problems(parameter: Parameter, files: list[object]) -> Iterator[tuple[str, str]]:
    """Find what is wrong with files and URLs, each as (what was given, what is allowed)."""
    for file in files:
        if isinstance(file, str) and HOST.match(file):
            yield "a URL without https://", f"{describe_allowed(parameter)}; a file that is here as Path(…)"
        elif isinstance(file, str) and LOCAL_PATH.search(file) and not URL.match(file):
            yield f"{short.repr(file)}, which is text", f"a URL, or Path({short.repr(file)}) to upload it"
        elif isinstance(file, str) and not is_readable(file):
            yield "a URL that cannot be read", describe_allowed(parameter)
        elif not isinstance(file, str) and not is_file(file):
            is_several = isinstance(file, Iterable) and not isinstance(file, (bytes, bytearray, memoryview, Mapping))
            yield describe(file), f"{describe_allowed(parameter)}{', in a list' if is_several else ''}"
        elif parameter.media and media_kind(file) not in (None, *ALLOWED_MEDIA[parameter.media]):
            yield f"{describe(file)} of the kind {media_kind(file)}", f"the kind {parameter.media}"
    if parameter.max_files is not None and len(files) > parameter.max_files:
        yield f"{len(files)} files", f"at most {parameter.max_files}"


def _bounds(parameter: Parameter) -> str:
    bounds = [("from", parameter.minimum), ("up to", parameter.maximum), ("in steps of", parameter.step)]
    return "".join(f" {word} {number}" for word, number in bounds if number is not None)
