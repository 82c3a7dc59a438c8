"""The parameters of a model, in both of the service's vocabularies. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

import attrs

from wiro_async._protocol.values.json import JSON
from wiro_async._protocol.values.parsing import as_decimal, as_dict, as_int, as_list, as_text
from wiro_async._public import public

TEXTS: Final = frozenset({"text", "textarea"})
NUMBERS: Final = frozenset({"number", "float", "integer", "range"})
CHOICES: Final = frozenset({"select", "selectwithcover"})
FILES: Final = frozenset({"fileinput", "multifileinput", "combinefileinput"})
DEFAULTS: Final = ("defaultvalue", "value", "default")
HOLDERS: Final = ("zip", "archive", "document", "pdf", "file")  # files of these may hold media of any kind
TRUE: Final = frozenset({"true", "1"})


@public
@attrs.frozen
class Option:
    """One allowed value of a parameter.

    Attributes:
        value: what is sent.
        label: what people read.
    """

    value: str
    label: str


def parse_option(option: JSON) -> Option:
    """Parse one option: a mapping, or a bare value."""
    if not isinstance(option, dict):
        return Option(as_text(option), as_text(option))
    label = as_text(option.get("text")) or as_text(option.get("label"))
    value = option.get("value")
    text = label if value is None else as_text(value)
    return Option(text, label or text)


@public
@attrs.frozen
class Parameter:
    """One parameter of a model. https://wiro.ai/docs/model-parameters

    Attributes:
        id: its name in an input.
        type: such as "textarea" or "fileinput"; the set is open.
        label, note, placeholder: what the service shows to people.
        required: whether the service refuses a run without it.
        default: what the service uses without a value, None if unknown.
        minimum, maximum, step: the bounds of a number.
        options: the allowed values; empty if any is allowed.
        max_files: the most files it takes, None if unknown.
        group: the title of its group.
        advanced: whether the service's page hides it at first.
        raw: the service's own record.
    """

    id: str
    type: str
    label: str
    required: bool
    default: JSON
    minimum: Decimal | None
    maximum: Decimal | None
    step: Decimal | None
    options: tuple[Option, ...] = attrs.field(repr=False)
    max_files: int | None
    note: str = attrs.field(repr=False)
    placeholder: str = attrs.field(repr=False)
    group: str
    advanced: bool
    raw: Mapping[str, JSON] = attrs.field(repr=False)

    @property
    def takes_files(self) -> bool:
        """Whether it takes files and URLs of files."""
        return self.type in FILES

    @property
    def url_id(self) -> str | None:
        """The name of its field for URLs; None if they go under its own name."""
        return f"{self.id}Url" if self.takes_files and self.type != "combinefileinput" else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its fields."""
        return (self.id,) if self.url_id is None else (self.id, self.url_id)

    @property
    def media(self) -> str | None:
        """The one kind of file in its name: "image", "video" or "audio"."""
        name = self.id.lower()
        kinds = [kind for kind in ("image", "video", "audio") if kind in name]
        is_clear = len(kinds) == 1 and not any(holder in name for holder in HOLDERS)
        return kinds[0] if self.takes_files and is_clear else None

    @property
    def is_whole(self) -> bool:
        """Whether it takes whole numbers only."""
        if self.type == "integer":
            return True
        return self.type in NUMBERS and _is_whole(self.step) and (self.minimum is None or _is_whole(self.minimum))


def parse_parameter(item: Mapping[str, JSON], group: str = "") -> Parameter:
    kind = as_text(item.get("type")).strip().lower()
    options = (parse_option(option) for option in as_list(item.get("options")))
    max_files = as_int(_first(item, "maxinputlenght", "maxinputlength")) if kind in FILES else None
    return Parameter(
        id=as_text(item.get("id")),
        type=kind,
        label=as_text(item.get("label")),
        required=_is_true(item.get("required")),
        default=_first(item, *DEFAULTS),
        minimum=as_decimal(_first(item, "minvalue", "min")),
        maximum=as_decimal(_first(item, "maxvalue", "max")),
        step=as_decimal(_first(item, "incrementby", "step")),
        options=tuple(option for option in options if option.value or option.label),
        max_files=1 if kind == "fileinput" else max_files or None,
        note=as_text(item.get("note")),
        placeholder=as_text(item.get("placeholder")),
        group=group,
        advanced=_is_true(item.get("advanced")),
        raw=item,
    )


def parse_parameters(groups: JSON) -> tuple[Parameter, ...]:
    """Parse all parameters of a model, from groups or from one flat list. The first of a name counts."""
    found: dict[str, Parameter] = {}
    for parameter in _parameters(as_list(groups), ""):
        if parameter.id:
            found.setdefault(parameter.id, parameter)
    return tuple(found.values())


def _parameters(items: list[JSON], group: str) -> Iterator[Parameter]:
    for item in items:
        inner = as_dict(item)
        if "items" in inner:
            yield from _parameters(as_list(inner["items"]), as_text(inner.get("title")))
        else:
            yield parse_parameter(inner, group)


def _first(item: Mapping[str, JSON], *names: str) -> JSON:
    return next((item[name] for name in names if item.get(name) not in (None, "")), None)


def _is_true(value: JSON) -> bool:
    return as_text(value).strip().lower() in TRUE


def _is_whole(number: Decimal | None) -> bool:
    return number is not None and number == number.to_integral_value()
