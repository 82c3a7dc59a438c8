"""Finds all that is wrong with an input before it is sent and paid for. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.conversations.turn_rules import TURN_NAMES, turn_problems
from wiro_async._protocol.http.requests import RunInput, list_items
from wiro_async._protocol.models.describe import describe, describe_allowed, find_file_problems
from wiro_async._protocol.models.input_view import InputView, find_option, is_empty, parse_number, plain
from wiro_async._protocol.models.model import Model
from wiro_async._protocol.models.parameters import CHOICES, NUMBERS, TEXTS, Parameter
from wiro_async._protocol.values.json import decode
from wiro_async._redaction import redacted

EVERY_RUN = ("callbackUrl", "projectid")
OFF_GRID = Decimal("1e-6")


@attrs.frozen
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        name: of the parameter.
        given: what was given, in words.
        allowed: what would be right, in words.
        suggestion: what was probably meant.
        is_doubtful: an unknown name that is like no known one; models may take more than they tell.
    """

    name: str
    given: str
    allowed: str
    suggestion: str | None = None
    is_doubtful: bool = False

    def __str__(self) -> str:
        meant = f"; did you mean {self.suggestion!r}?" if self.suggestion is not None else ""
        return redacted(f"{self.name}: given {self.given}; allowed {self.allowed}{meant}")


def validate(model: Model, given: Mapping[str, object] | None) -> list[Problem]:
    """All problems of an input, by the model's own parameters; none if the model tells no parameters."""
    if not model.parameters:
        return []
    found = InputView.parse(model.parameters, given)
    problems = list(_unknown(model, found))
    excused = {"prompt"} if model.takes_turns else set[str]()
    for parameter in model.parameters:
        problems += _problems(parameter, found, parameter.id in excused)
    if model.takes_turns:
        problems += [Problem(*problem) for problem in turn_problems(found.values)]
    told = {problem.name for problem in problems if not problem.is_doubtful}
    return [*problems, *_unsendable(found, told)]


def invalid_input_error(model: Model, problems: Sequence[Problem]) -> InvalidInputError:
    """The error that tells all problems at once."""
    texts = [str(problem) for problem in problems]
    count = "1 problem" if len(texts) == 1 else f"{len(texts)} problems"
    lines = "".join(f"\n  {text}" for text in texts)
    return InvalidInputError(
        message=f"{count} in the input for {model.slug}, so nothing was sent:{lines}", errors=texts
    )


def _unknown(model: Model, given: InputView) -> Iterator[Problem]:
    urls = [parameter.url_id for parameter in model.parameters if parameter.url_id]
    known = [*given.parameters, *urls, *EVERY_RUN, *(TURN_NAMES if model.takes_turns else ())]
    for name, value in given.values.items():
        if name not in known:
            allowed = f"only {', '.join(given.parameters)}"
            meant = find_closest(str(name), known)
            is_doubtful = meant is None and isinstance(name, str)
            yield Problem(str(name), describe(value), allowed, meant, is_doubtful)


def find_closest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant."""
    by_folded = {other.casefold(): other for other in reversed(known)}
    matches = get_close_matches(name.casefold(), by_folded, 1)
    return by_folded[matches[0]] if matches else None


def _problems(parameter: Parameter, given: InputView, excused: bool) -> Iterator[Problem]:
    value = given.values.get(parameter.id)
    files = given.files(parameter) if parameter.takes_files else []
    if not files if parameter.takes_files else is_empty(value):
        if parameter.required and parameter.default is None and not excused:
            yield Problem(parameter.id, "nothing", f"{describe_allowed(parameter)}, and it is required")
    elif parameter.takes_files:
        for fault in find_file_problems(parameter, files):
            yield Problem(parameter.id, *fault)
    else:
        allowed = _refused(parameter, value)
        if allowed is not None:
            yield Problem(parameter.id, describe(value), allowed, _meant(parameter, value))


def _unsendable(given: InputView, told: Container[str]) -> Iterator[Problem]:
    """What seems right, but would be refused when it is sent."""
    files = {name for parameter in given.parameters.values() if parameter.takes_files for name in parameter.names}
    for name, value in given.values.items():
        if str(name) in told or name in files:
            continue
        try:
            RunInput.parse({name: value})
        except InvalidInputError as error:
            allowed = describe_allowed(given.parameters[name]) if name in given.parameters else "what JSON can hold"
            yield Problem(name, f"what cannot be sent: {error.message.partition('; ')[0]}", allowed)


def _refused(parameter: Parameter, value: object) -> str | None:
    """What is allowed instead of a value; None if the value is."""
    for types, test in TESTS:
        if parameter.type in types and not test(parameter, value):
            return describe_allowed(parameter)
    return None


def _is_text(parameter: Parameter, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    number = parse_number(value)
    return number is None or _is_within(parameter, number)


def _is_number(parameter: Parameter, value: object) -> bool:
    number = parse_number(value)
    if number is None or (parameter.type == "integer" and number != number.to_integral_value()):
        return False
    return _is_within(parameter, number) and _is_on_grid(parameter, number)


def _is_within(parameter: Parameter, number: Decimal) -> bool:
    least, most = parameter.minimum, parameter.maximum
    return (least is None or number >= least) and (most is None or number <= most)


def _is_on_grid(parameter: Parameter, number: Decimal) -> bool:
    """Steps count from the minimum; a default that is off them shows that they count from there."""
    if not parameter.step or parameter.step < 0:
        return True
    default = parse_number(parameter.default)
    bases = [parameter.minimum or Decimal(0), *([] if default is None else [default])]
    try:
        steps = [(number - base) / parameter.step for base in bases]
        return any(abs(step - step.to_integral_value()) <= OFF_GRID for step in steps)
    except ArithmeticError:  # numbers too large to tell
        return True


def _is_option(parameter: Parameter, value: object) -> bool:
    if not parameter.options:
        return isinstance(value, (str, bool, int, float))
    return find_option(parameter, value) is not None


def _is_boolean(_: Parameter, value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value in ("true", "false"))


def _is_json(parameter: Parameter, value: object) -> bool:
    if isinstance(value, str):
        try:
            value = decode(value)
        except ValueError:
            return False
    return list_items(value) is not None or (parameter.type == "json" and isinstance(value, Mapping))


TESTS: tuple[tuple[frozenset[str], Callable[[Parameter, object], bool]], ...] = (
    (TEXTS, _is_text),
    (NUMBERS, _is_number),
    (CHOICES, _is_option),
    (frozenset({"checkbox"}), _is_boolean),
    (frozenset({"json", "json-array"}), _is_json),
)


def _meant(parameter: Parameter, value: object) -> str | None:
    """The option whose label was given, or whose value is nearly the one that was given."""
    text = plain(value)
    options = [option for option in parameter.options if option.value]
    labelled = [option.value for option in options if option.label == text]
    return labelled[0] if labelled else find_closest(text, [option.value for option in options])
