"""Writes a typed module for a model, so that editors and type checkers know its inputs.

    python -m wiro_async.codegen google/nano-banana-pro > nano_banana_pro.py

The module has the model's name and a `TypedDict` of its inputs, with the service's descriptions and the allowed values.
https://wiro.ai/docs/model-parameters
"""

from __future__ import annotations

import argparse
import asyncio
import keyword
import re
import sys
import unicodedata
from collections.abc import Container, Iterator, Sequence
from textwrap import wrap

import attrs

from wiro_async._errors import NotFoundError, WiroError
from wiro_async._protocol.models.model import Model
from wiro_async._protocol.models.parameters import CHOICES, FILES, NUMBERS, TEXTS, Parameter
from wiro_async._session import AsyncWiro

__all__ = ["generate", "main"]

WIDTH = 100
HOMES = {
    "collections.abc": ("Mapping", "Sequence"),
    "typing": ("Literal", "NotRequired", "TypedDict"),
    "wiro_async": ("FileInput",),
}
TAKEN = {name for names in HOMES.values() for name in names} | {"str", "int", "float", "bool", "object"}
TURN_FIELDS = {
    "prompt": "str",
    "messages": "Sequence[Mapping[str, object]]",
    "tools": "Sequence[Mapping[str, object]]",
    "tool_choice": "str | Mapping[str, object]",
    "parallel_tool_calls": "bool",
    "response_format": "str | Mapping[str, object]",
    "previousTaskToken": "str",
    "toolOutputs": "Sequence[Mapping[str, object]]",
    "session_id": "str",
}
PLAIN_TYPES = {
    "checkbox": "bool",
    "json": "Mapping[str, object] | Sequence[object] | str",
    "json-array": "Sequence[object] | str",
    "fileinput": "FileInput | str",
    "multifileinput": "Sequence[FileInput | str] | FileInput | str",
    "combinefileinput": "Sequence[FileInput | str] | FileInput | str",
}


@attrs.frozen
class _Field:
    """One key of the TypedDict."""

    name: str
    type: str
    required: bool
    about: str
    choices: tuple[str, ...] = ()

    def lines(self, head: str, tail: str = "") -> list[str]:
        """Return the field on one line, or a long list of literals on several."""
        before, after = ("", "") if self.required else ("NotRequired[", "]")
        line = f"{head}{before}{self.type}{after}{tail}"
        if len(line) <= WIDTH or not self.choices:
            return [line]
        indent = " " * (len(head) - len(head.lstrip()))
        choices = [f"{indent}    {choice}," for choice in self.choices]
        return [f"{head}{before}Literal[", *choices, f"{indent}]{after}{tail}"]

    @property
    def uses(self) -> set[str]:
        """The names that its type consists of."""
        kind = "Literal" if self.choices else self.type
        return {*re.findall(r"\w+", kind), *([] if self.required else ["NotRequired"])}

    @property
    def is_attribute(self) -> bool:
        """Whether class syntax can declare it: an identifier that Python does not change and that hides no type."""
        is_free = self.name not in TAKEN and not keyword.iskeyword(self.name) and not self.name.startswith("__")
        return is_free and self.name.isidentifier() and unicodedata.normalize("NFKC", self.name) == self.name


def generate(model: Model) -> str:
    """Return the source of a module with `MODEL` and the `TypedDict` of the model's inputs.

    If the name of a parameter is no Python identifier, the module makes the TypedDict with a call.
    """
    fields = list(_fields(model))
    name = _class_name(model.slug)
    by_class = all(field.is_attribute for field in fields)
    definition = _by_class(name, model, fields) if by_class else _by_call(name, model, fields)
    title = f"Inputs of {model.slug}" + (f": {model.title}" if model.title else "")
    head = f'"""{_quoted(title)}.\n\nWritten by `python -m wiro_async.codegen {_quoted(model.slug)}`.\n"""'
    constant = f"MODEL = {_literal(model.slug)}"
    used = {"TypedDict"}.union(*(field.uses for field in fields))
    return "\n".join([head, "", *_imports(used), "", constant, "", "", *definition, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the module of one model to standard output. Returns the exit code; 1 if there is no such model."""
    parser = argparse.ArgumentParser(
        prog="python -m wiro_async.codegen", description="Write a typed module for a model."
    )
    parser.add_argument("model", help="owner/model, for example google/nano-banana-pro")
    options = parser.parse_args(arguments)
    try:
        source = generate(asyncio.run(_model(options.model)))
    except WiroError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(source)
    return 0


async def _model(slug: str) -> Model:
    # Models are public. A session without a key needs a header, so it gets one without meaning.
    async with AsyncWiro(headers={"Accept": "application/json"}) as wiro:
        model = await wiro.models.get(slug)
    if not model.parameters:
        raise NotFoundError(message=f"the service lists no parameters of {slug}")
    return model


def _fields(model: Model) -> Iterator[_Field]:
    for parameter in model.parameters:
        in_turns = model.takes_turns and parameter.id in TURN_FIELDS
        required = parameter.required and parameter.default is None and not in_turns
        options = parameter.options if parameter.type in CHOICES and not in_turns else ()
        choices = tuple(dict.fromkeys(_literal(option.value) for option in options))
        kind = TURN_FIELDS[parameter.id] if in_turns else _type(parameter, choices)
        yield _Field(parameter.id, kind, required, _about(parameter), choices)
    listed = {parameter.id for parameter in model.parameters}
    for name, kind in TURN_FIELDS.items():
        if model.takes_turns and name not in listed:
            yield _Field(name, kind, False, "")


def _type(parameter: Parameter, choices: Sequence[str]) -> str:
    if choices:
        return f"Literal[{', '.join(choices)}]"
    if parameter.type in NUMBERS:
        return "int" if parameter.is_whole else "float"
    is_number = re.fullmatch(r"-?\d+(\.\d+)?", str(parameter.default)) is not None
    if parameter.type in TEXTS and (parameter.minimum is not None or is_number):
        return "str | int | float"
    return "str" if parameter.type in TEXTS | CHOICES else PLAIN_TYPES.get(parameter.type, "object")


def _about(parameter: Parameter) -> str:
    """Return the service's description of a parameter in one line."""
    words = [parameter.label, parameter.note]
    bounds = [("At least", parameter.minimum), ("At most", parameter.maximum), ("In steps of", parameter.step)]
    words += [f"{word} {number}" for word, number in bounds if number is not None]
    if parameter.default is not None:
        words.append(f"Default: {parameter.default}")
    if parameter.type in FILES:
        words.append("A file to upload, or a URL" if parameter.max_files == 1 else "Files to upload, or URLs")
        if (parameter.max_files or 1) > 1:
            words.append(f"At most {parameter.max_files}")
    return " ".join(f"{line}." for line in (_plain(word).rstrip(".") for word in words) if line)


def _by_class(name: str, model: Model, fields: Sequence[_Field]) -> list[str]:
    lines = [f"class {name}(TypedDict):", *_docstring(model.description or model.title or model.slug)]
    for field in fields:
        lines += ["", *field.lines(f"    {field.name}: ")]
        lines += _docstring(field.about) if field.about else []
    return lines


def _by_call(name: str, model: Model, fields: Sequence[_Field]) -> list[str]:
    lines = [f"{name} = TypedDict(", f'    "{name}",', "    {"]
    for field in fields:
        # "#:" keeps a note from being a directive such as "type: ignore".
        lines += [f"        #: {line}" for line in wrap(field.about.replace("#", ""), WIDTH)]
        lines += field.lines(f"        {_literal(field.name)}: ", ",")
    lines += ["    },", ")"]
    return [*lines, *(line.removeprefix("    ") for line in _docstring(model.description or model.title or model.slug))]


def _docstring(text: str) -> list[str]:
    lines = wrap(_quoted(text), WIDTH, break_long_words=False, break_on_hyphens=False)
    if len(lines) < 2:
        return [f'    """{"".join(lines)}"""']
    return [f'    """{lines[0]}', *(f"    {line}" for line in lines[1:]), '    """']


def _imports(used: Container[str]) -> Iterator[str]:
    for home, names in HOMES.items():
        wanted = [name for name in names if name in used]
        if wanted:
            yield from ([""] if home == "wiro_async" else [])
            yield f"from {home} import {', '.join(wanted)}"


def _class_name(slug: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", slug.partition("/")[2])
    name = "".join(word[0].upper() + word[1:] for word in words)
    name = f"{name if name[:1].isalpha() else f'Model{name}'}Input"
    return f"{name}s" if name in TAKEN else name


def _literal(text: str) -> str:
    """Return a string literal, in double quotes where that needs no escapes."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal else literal


def _plain(text: str) -> str:
    """Return text on one line, without unprintable characters."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _quoted(text: str) -> str:
    """Return text that is safe in a docstring."""
    return _plain(text).replace("\\", "\\\\").replace('"', "'")


if __name__ == "__main__":
    sys.exit(main())
