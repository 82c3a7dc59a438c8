"""What a run will cost, by its model's price table. https://wiro.ai/docs/pricing"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Final, TypeVar

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.models.describe import describe
from wiro_async._protocol.models.input_view import InputView, files_in, parse_number, plain
from wiro_async._protocol.models.model import Model, PriceRule
from wiro_async._protocol.models.parameters import Parameter
from wiro_async._protocol.values.parsing import as_decimal, as_seconds, as_text
from wiro_async._protocol.values.scalars import to_builtin

T = TypeVar("T")

UNITS: Final = {
    "cpr": "run",
    "cps": "second of computing",
    "cpo": "output",
    "cpt": "token",
    "cp-pixel": "1,048,576 pixels",
    "cp-audiosecondslength": "second of input audio",
    "cp-promptlength": "character",
    "cp-outputVideoLength": "second of output video",
    "cp-realtimeturn": "turn",
    "cp-readoutput": "run, as the model tells afterwards",
}
TIER: Final = 1024 * 1024
QUANTITY: Final = re.compile(r"QUANTITY:(\d+)", re.IGNORECASE)
MOST: Final = 10**9  # outputs, or pixels a side: beyond it a number is none of these
SIZE: Final = re.compile(r"(\d{1,9})\s*[x×*]\s*(\d{1,9})", re.IGNORECASE)
SQUARE: Final = re.compile(r"(\d{1,9})k", re.IGNORECASE)
LINES: Final = re.compile(r"(\d{1,9})p", re.IGNORECASE)
COMPUTING_TIME: Final = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*(h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?)\b")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
COUNTS: Final = frozenset(
    "n count samples images outputs batchsize numimages numoutputs numsamples numberofimages numberofoutputs imagecount"
    " outputcount samplecount".split()
)
DURATIONS: Final = frozenset("duration durationseconds seconds videolength videoduration".split())
SIZES: Final = frozenset("size imagesize resolution outputresolution outputsize".split())
PROMPTS: Final = ("prompt", "text", "input")
NO_PICTURES: Final = ("video", "audio", "document", "zip")


@attrs.frozen
class Estimate:
    """What runs will cost, in US dollars. https://wiro.ai/docs/pricing

    Attributes:
        total: for all runs that were asked about.
        unit: what one `price` pays for.
        method: how the service bills, such as "cpr"; the set is open.
        exact: whether a successful run costs just this. If not, it depends on what only the run will show.
        price: of one unit.
        quantity: how many units a run takes, None where the total is that of an average run.
    """

    total: Decimal
    unit: str
    method: str
    exact: bool
    price: Decimal
    quantity: Decimal | None = None


@attrs.frozen
class _Quantity:
    """How many units a run takes, and whether that is certain."""

    units: Decimal
    exact: bool


def estimate(model: Model, given: Mapping[str, object] | None, count: int = 1) -> Estimate:
    """What `count` runs with this input will cost. Raises `InvalidInputError` for a `count` that is none."""
    runs: object = to_builtin(count)
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 0:
        raise InvalidInputError(message=f"count is {describe(runs)}; give 0 or more runs, as a whole number")
    found = InputView.parse(model.parameters, given)
    estimates = [_by_rule(rule, model, found, runs) for rule in _rules(model, found)]
    if not estimates:
        return _by_average(model, runs)
    dearest = max(estimates, key=lambda one: one.total)
    is_exact = all(one.exact and one.total == dearest.total for one in estimates)
    return attrs.evolve(dearest, exact=is_exact)


def _by_rule(rule: PriceRule, model: Model, given: InputView, count: int) -> Estimate:
    unit = UNITS.get(rule.method, "unit")
    if rule.method == "cp-pixel":
        return _by_pixels(rule, given, count)
    quantity = _quantity(rule.method, given)
    if quantity is None:
        total = _average_seconds(model) * rule.price if rule.method == "cps" else _average(model)
        return Estimate((total or rule.price) * count, unit, rule.method, False, rule.price)
    exact = quantity.exact and not rule.extra and not rule.per_input
    return Estimate(rule.price * quantity.units * count, unit, rule.method, exact, rule.price, quantity.units)


def _rules(model: Model, given: InputView) -> list[PriceRule]:
    """The rules that hold and have the most conditions: one, unless the table contradicts itself."""
    holding = [rule for rule in model.prices if all(_holds(given, *condition) for condition in rule.inputs.items())]
    most = max((len(rule.inputs) for rule in holding), default=0)
    return [rule for rule in holding if len(rule.inputs) == most]


def _holds(given: InputView, name: str, wanted: object) -> bool:
    if isinstance(wanted, (list, dict)):  # nobody has told what these mean
        return False
    quantity = QUANTITY.fullmatch(plain(wanted))
    if quantity is None:
        value = given.value(name)
        is_scalar = value is None or isinstance(value, (str, bool, int, float))
        return is_scalar and plain(value).casefold() == plain(wanted).casefold()
    parameter = given.parameters.get(name)
    files = files_in(given.values.get(name)) if parameter is None else given.files(parameter)
    return len(files) == int(quantity[1])


def _by_average(model: Model, count: int) -> Estimate:
    """Where no rule holds: an average run; if none is known, the dearest rule."""
    if not model.prices:
        return Estimate(_average(model) * count, UNITS["cps"], "cps", False, model.cost_per_second or Decimal(0))
    dearest = max(model.prices, key=lambda rule: rule.price)
    unit = UNITS.get(dearest.method, "unit")
    return Estimate((_average(model) or dearest.price) * count, unit, dearest.method, False, dearest.price)


def _average(model: Model) -> Decimal:
    """What an average run costs: as the service tells it, else by its computing time; 0 if neither is told."""
    return model.average_cost or _average_seconds(model) * (model.cost_per_second or 0)


def _average_seconds(model: Model) -> Decimal:
    if model.average_cost and model.cost_per_second:
        return model.average_cost / model.cost_per_second
    return _seconds_of(model.computing_time.lower())


def _seconds_of(text: str) -> Decimal:
    """Seconds in words, such as "1 minute 30 seconds", or "00:30"; of several lengths the last; 0 if none is told."""
    told = as_seconds(text)
    if told is not None:
        return max(as_decimal(told) or Decimal(0), Decimal(0))
    total, last = Decimal(0), 0
    for number, unit in COMPUTING_TIME.findall(text):
        length = SECONDS[unit[0]]
        total = (as_decimal(number) or Decimal(0)) * length + (total if length < last else 0)
        last = length
    return total


def _quantity(method: str, given: InputView) -> _Quantity | None:
    match method:
        case "cpr":
            return _Quantity(Decimal(1), True)
        case "cpo":
            return _outputs(given)
        case "cp-promptlength":
            return _characters(given)
        case "cp-outputVideoLength":
            return _first(given, DURATIONS, _length)
        case "cp-realtimeturn":
            return _Quantity(Decimal(1), False)
    return None


def _outputs(given: InputView) -> _Quantity:
    number = _first(given, COUNTS, parse_number)
    if number is None or number < 1 or number > MOST:
        return _Quantity(Decimal(1), False)
    return _Quantity(number, True)


def _length(value: object) -> _Quantity | None:
    seconds = as_decimal(as_seconds(plain(value)))
    return _Quantity(seconds, False) if seconds is not None and seconds > 0 else None


def _characters(given: InputView) -> _Quantity | None:
    texts = [given.value(name) for name in PROMPTS]
    texts += [given.value(name) for name, parameter in given.parameters.items() if parameter.type == "textarea"]
    scalars = [value for value in texts if isinstance(value, (str, int, float))]  # a number is a prompt, too
    prompt = next(filter(None, map(as_text, scalars)), None)
    # whether the service counts a character beyond the first 65,536 as one or as two is not told
    return None if prompt is None else _Quantity(Decimal(len(prompt)), max(prompt, default="") <= "\uffff")


def _by_pixels(rule: PriceRule, given: InputView, count: int) -> Estimate:
    """The first tier at the price, every further one at the extra; every input image is paid for in every tier."""
    pixels = _pixels(given)
    tiers = Decimal(1) if pixels is None else max(Decimal(1), (pixels.units / TIER).to_integral_value(ROUND_CEILING))
    images = sum(len(given.files(parameter)) for parameter in given.parameters.values() if _is_picture(parameter))
    total = rule.price + (tiers - 1) * (rule.extra or 0) + images * tiers * (rule.per_input or 0)
    exact = pixels is not None and pixels.exact and not (images and rule.per_input and tiers > 1)
    return Estimate(total * count, UNITS[rule.method], rule.method, exact, rule.price, tiers)


def _is_picture(parameter: Parameter) -> bool:
    return parameter.takes_files and not any(other in parameter.id.lower() for other in NO_PICTURES)


def _pixels(given: InputView) -> _Quantity | None:
    width, height = parse_number(given.value("width")), parse_number(given.value("height"))
    if width and height and 0 < width < MOST and 0 < height < MOST:
        return _Quantity(width * height, True)
    return _first(given, SIZES, _size)


def _size(value: object) -> _Quantity | None:
    told = plain(value)
    if size := SIZE.fullmatch(told):
        return _Quantity(Decimal(size[1]) * Decimal(size[2]), True)
    if square := SQUARE.fullmatch(told):
        return _Quantity((Decimal(square[1]) * 1024) ** 2, False)
    if lines := LINES.fullmatch(told):
        return _Quantity(Decimal(lines[1]) ** 2 * 16 / 9, False)
    return None


def _first(given: InputView, names: frozenset[str], read: Callable[[object], T | None]) -> T | None:
    """What can be read of the first parameter with one of these names, however they are spelt, that is no file."""
    for name in (*given.values, *given.parameters):
        parameter = given.parameters.get(name)
        is_file = parameter is not None and parameter.takes_files
        if not is_file and str(name).lower().replace("_", "").replace("-", "") in names:
            found = read(given.value(name))
            if found is not None:
                return found
    return None
