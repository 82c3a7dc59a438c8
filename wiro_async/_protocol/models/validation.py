"""Find every problem of an input before it is sent and paid for. https://wiro.ai/docs/model-parameters"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Final

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.http.requests import RunInput, list_items
from wiro_async._protocol.models.describe import describe, describe_allowed, find_file_problems
from wiro_async._protocol.models.input_view import InputView, find_option, is_empty, normalize, parse_number
from wiro_async._protocol.models.model import Model
from wiro_async._protocol.models.parameters import CHOICES, NUMBERS, TEXTS, Parameter
from wiro_async._protocol.models.turn_rules import TURN_NAMES, turn_problems
from wiro_async._protocol.values.json import decode_or_none
from wiro_async._redaction import redact

EVERY_RUN = ("callbackUrl", "projectid")
OFF_GRID = Decimal("1e-6")


@attrs.frozen
class Problem:
    """One thing that is wrong with an input."""

    name: str  # of the parameter
    given: str  # what was given, in words
    allowed: str  # what would be right, in words
    suggestion: str | None = None  # what was probably meant
    is_doubtful: bool = False  # an unknown name that resembles no known one. Models may take more than they describe.

    def __str__(self) -> str:
        meant = f"; did you mean {self.suggestion!r}?" if self.suggestion is not None else ""
        return redact(f"{self.name}: given {self.given}; allowed {self.allowed}{meant}")


def validate(model: Model, given: Mapping[str, object] | None) -> list[Problem]:
    """Find all problems of an input, by the model's own parameters; none if the model describes no parameters."""
    if not model.parameters:
        return []
    view = InputView.parse(model.parameters, given)
    urls = [parameter.url_id for parameter in model.parameters if parameter.url_id]
    known = [*view.parameters, *urls, *EVERY_RUN, *(TURN_NAMES if model.takes_turns else ())]
    problems: list[Problem] = []
    for name, value in view.values.items():
        if name not in known:
            meant = find_closest(str(name), known)
            is_doubtful = meant is None and isinstance(name, str)
            allowed = f"only {', '.join(view.parameters)}"
            problems.append(Problem(str(name), describe(value), allowed, meant, is_doubtful))
    for parameter in model.parameters:
        # A turn may have `messages` in place of the prompt.
        is_optional = model.takes_turns and parameter.id == "prompt"
        problems += _check_parameter(parameter, view, is_optional)
    if model.takes_turns:
        problems += [Problem(*problem) for problem in turn_problems(view.values)]
    names = {problem.name for problem in problems if not problem.is_doubtful}
    return [*problems, *_check_sendable(view, names)]


def invalid_input_error(model: Model, problems: Sequence[Problem]) -> InvalidInputError:
    texts = [str(problem) for problem in problems]
    count = "1 problem" if len(texts) == 1 else f"{len(texts)} problems"
    lines = "".join(f"\n  {text}" for text in texts)
    return InvalidInputError(
        message=f"{count} in the input for {model.slug}, so nothing was sent:{lines}", errors=texts
    )


def find_closest(name: str, known: Sequence[str]) -> str | None:
    """Find the known name that was probably meant."""
    by_folded = {other.casefold(): other for other in reversed(known)}
    matches = get_close_matches(name.casefold(), by_folded, 1)
    return by_folded[matches[0]] if matches else None


def _check_parameter(parameter: Parameter, view: InputView, is_optional: bool) -> Iterator[Problem]:
    value = view.values.get(parameter.id)
    files = view.files(parameter) if parameter.takes_files else []
    if not files if parameter.takes_files else is_empty(value):
        if parameter.required and parameter.default is None and not is_optional:
            yield Problem(parameter.id, "nothing", f"{describe_allowed(parameter)}, and it is required")
    elif parameter.takes_files:
        for problem in find_file_problems(parameter, files):
            yield Problem(parameter.id, *problem)
    elif any(parameter.type in types and not allows(parameter, value) for types, allows in TESTS):
        # Perhaps the label of an option was given, or nearly its value.
        text = normalize(value)
        options = [option for option in parameter.options if option.value]
        labelled = next((option.value for option in options if option.label == text), None)
        meant = labelled or find_closest(text, [option.value for option in options])
        yield Problem(parameter.id, describe(value), describe_allowed(parameter), meant)


def _check_sendable(view: InputView, reported: Container[str]) -> Iterator[Problem]:
    """Find values that look right, but would be refused when they are sent."""
    files = {name for parameter in view.parameters.values() if parameter.takes_files for name in parameter.names}
    for name, value in view.values.items():
        if str(name) in reported or name in files:
            continue
        try:
            RunInput.parse({name: value})
        except InvalidInputError as error:
            allowed = describe_allowed(view.parameters[name]) if name in view.parameters else "what JSON can hold"
            yield Problem(name, f"what cannot be sent: {error.message.partition('; ')[0]}", allowed)


def is_text(parameter: Parameter, value: object) -> bool:
    """Text of any kind; a number, or text of one, within the bounds."""
    number = parse_number(value)
    is_scalar = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return is_scalar and (number is None or _is_in_range(parameter, number))


def is_number(parameter: Parameter, value: object) -> bool:
    """A number, or text of one, within the bounds and whole steps from the minimum or the default."""
    number = parse_number(value)
    if number is None or (parameter.type == "integer" and number != number.to_integral_value()):
        return False
    if not _is_in_range(parameter, number):
        return False
    if not parameter.step or parameter.step < 0:
        return True
    default = parse_number(parameter.default)  # it may be off the minimum's grid: then steps count from the default
    bases = [parameter.minimum or Decimal(0), *([] if default is None else [default])]
    try:
        steps = [(number - base) / parameter.step for base in bases]
        return any(abs(step - step.to_integral_value()) <= OFF_GRID for step in steps)
    except ArithmeticError:  # numbers too large to compute with
        return True


def is_option(parameter: Parameter, value: object) -> bool:
    """One of the options; any scalar where the model lists none."""
    if not parameter.options:
        return isinstance(value, (str, bool, int, float))
    return find_option(parameter, value) is not None


def is_boolean(_: Parameter, value: object) -> bool:
    """A boolean, or text of one."""
    return isinstance(value, bool) or (isinstance(value, str) and value in ("true", "false"))


def is_container(parameter: Parameter, value: object) -> bool:
    """A list, for `json` also a mapping, or JSON text of one."""
    value = decode_or_none(value) if isinstance(value, str) else value
    return list_items(value) is not None or (parameter.type == "json" and isinstance(value, Mapping))


def _is_in_range(parameter: Parameter, number: Decimal) -> bool:
    least, most = parameter.minimum, parameter.maximum
    return (least is None or number >= least) and (most is None or number <= most)


# The set of types is open: a parameter of another type allows every value.
TESTS: Final[tuple[tuple[frozenset[str], Callable[[Parameter, object], bool]], ...]] = (
    (TEXTS, is_text),
    (NUMBERS, is_number),
    (CHOICES, is_option),
    (frozenset({"checkbox"}), is_boolean),
    (frozenset({"json", "json-array"}), is_container),
)
