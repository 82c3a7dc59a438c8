"""Estimate what a run costs, by its model's price table. https://wiro.ai/docs/pricing"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Final, TypeVar

import attrs

from wiro_async._errors import InvalidInputError
from wiro_async._protocol.models.describe import describe
from wiro_async._protocol.models.input_view import InputView, normalize, parse_number, split_files
from wiro_async._protocol.models.model import Model, PriceRule
from wiro_async._protocol.values.json import JSON, to_number
from wiro_async._protocol.values.parsing import as_decimal, as_seconds, as_text
from wiro_async._public import public

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
    "cp-readoutput": "run, as the model reports afterwards",
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


@public
@attrs.frozen
class Estimate:
    """The estimated cost of runs, in US dollars. https://wiro.ai/docs/pricing

    Attributes:
        total: for all runs.
        unit: what one `price` pays for.
        method: how the service bills, such as "cpr"; the set is open.
        exact: whether a successful run costs exactly this. If not, only the run will show.
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
    """Estimate what `count` runs with this input will cost.

    The rule with the most conditions decides. If the price table contradicts itself, the dearest of them does.

    Raises:
        InvalidInputError: `count` is no whole number, or the input no mapping.
    """
    runs: object = count
    if isinstance(runs, Decimal):
        runs = to_number(runs)
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 0:
        raise InvalidInputError(message=f"count is {describe(runs)}; give 0 or more runs, as a whole number")
    view = InputView.parse(model.parameters, given)
    matching = [rule for rule in model.prices if all(_holds(view, *condition) for condition in rule.inputs.items())]
    most = max((len(rule.inputs) for rule in matching), default=0)
    estimates = [_by_rule(rule, model, view, runs) for rule in matching if len(rule.inputs) == most]
    if estimates:
        dearest = max(estimates, key=lambda one: one.total)
        is_exact = all(one.exact and one.total == dearest.total for one in estimates)
        return attrs.evolve(dearest, exact=is_exact)
    if not model.prices:
        return Estimate(_average(model) * runs, UNITS["cps"], "cps", False, model.cost_per_second or Decimal(0))
    # No rule matches: an average run, and the dearest rule where no average is known.
    rule = max(model.prices, key=lambda rule: rule.price)
    return Estimate((_average(model) or rule.price) * runs, _unit(rule), rule.method, False, rule.price)


def _holds(view: InputView, name: str, wanted: JSON) -> bool:
    """Whether a rule's condition holds for the input: a value, or "QUANTITY:n" files."""
    if isinstance(wanted, (list, dict)):  # Wiro's pages do not say what these mean
        return False
    quantity = QUANTITY.fullmatch(normalize(wanted))
    if quantity is None:
        value = view.value(name)
        is_scalar = value is None or isinstance(value, (str, bool, int, float))
        return is_scalar and normalize(value).casefold() == normalize(wanted).casefold()
    parameter = view.parameters.get(name)
    files = split_files(view.values.get(name)) if parameter is None else view.files(parameter)
    return len(files) == int(quantity[1])


def _by_rule(rule: PriceRule, model: Model, view: InputView, count: int) -> Estimate:
    if rule.method == "cp-pixel":
        return _by_pixels(rule, view, count)
    quantity = _quantity(rule.method, view)
    if quantity is None:
        total = _average_seconds(model) * rule.price if rule.method == "cps" else _average(model)
        return Estimate((total or rule.price) * count, _unit(rule), rule.method, False, rule.price)
    exact = quantity.exact and not rule.extra and not rule.per_input
    return Estimate(rule.price * quantity.units * count, _unit(rule), rule.method, exact, rule.price, quantity.units)


def _quantity(method: str, view: InputView) -> _Quantity | None:
    """How many units of a method the input asks for; None where only the run will show."""
    match method:
        case "cpr":
            return _Quantity(Decimal(1), True)
        case "cp-realtimeturn":  # a session has one turn or more
            return _Quantity(Decimal(1), False)
        case "cpo":
            number = _first(view, COUNTS, parse_number)
            if number is None or not 1 <= number <= MOST:
                return _Quantity(Decimal(1), False)
            return _Quantity(number, True)
        case "cp-promptlength":
            texts = [view.value(name) for name in PROMPTS]
            texts += [view.value(name) for name, parameter in view.parameters.items() if parameter.type == "textarea"]
            scalars = [value for value in texts if isinstance(value, (str, int, float))]  # a number is a prompt, too
            prompt = next(filter(None, map(as_text, scalars)), None)
            # Characters beyond the first 65,536 are one or two: Wiro's pages do not say.
            return None if prompt is None else _Quantity(Decimal(len(prompt)), max(prompt, default="") <= "\uffff")
        case "cp-outputVideoLength":
            return _first(view, DURATIONS, _parse_duration)
    return None


def _by_pixels(rule: PriceRule, view: InputView, count: int) -> Estimate:
    """The first tier at the price, each further tier at the extra; each input image is billed in each tier."""
    width, height = parse_number(view.value("width")), parse_number(view.value("height"))
    if width and height and 0 < width < MOST and 0 < height < MOST:
        pixels: _Quantity | None = _Quantity(width * height, True)
    else:
        pixels = _first(view, SIZES, _parse_size)
    tiers = Decimal(1) if pixels is None else max(Decimal(1), (pixels.units / TIER).to_integral_value(ROUND_CEILING))
    images = sum(
        len(view.files(parameter))
        for parameter in view.parameters.values()
        if parameter.takes_files and not any(other in parameter.id.lower() for other in NO_PICTURES)
    )
    total = rule.price + (tiers - 1) * (rule.extra or 0) + images * tiers * (rule.per_input or 0)
    exact = pixels is not None and pixels.exact and not (images and rule.per_input and tiers > 1)
    return Estimate(total * count, UNITS[rule.method], rule.method, exact, rule.price, tiers)


def _unit(rule: PriceRule) -> str:
    return UNITS.get(rule.method, "unit")


def _average(model: Model) -> Decimal:
    """The cost of an average run: the service's figure, else its computing time's; 0 if neither is known."""
    return model.average_cost or _average_seconds(model) * (model.cost_per_second or 0)


def _average_seconds(model: Model) -> Decimal:
    """Seconds of an average run, by its costs or by words such as "1 minute 30 seconds" or "00:30"; 0 if unknown.

    Of several durations ("1 minute to 90 seconds") the last one counts: it is the longest.
    """
    if model.average_cost and model.cost_per_second:
        return model.average_cost / model.cost_per_second
    text = model.computing_time.lower()
    seconds = as_seconds(text)
    if seconds is not None:
        return max(as_decimal(seconds) or Decimal(0), Decimal(0))
    total, last = Decimal(0), 0
    for number, unit in COMPUTING_TIME.findall(text):
        length = SECONDS[unit[0]]
        total = (as_decimal(number) or Decimal(0)) * length + (total if length < last else 0)
        last = length
    return total


def _first(view: InputView, names: frozenset[str], parse: Callable[[object], T | None]) -> T | None:
    """Parse the first parameter with one of these names, however they are spelt, that takes no files."""
    for name in (*view.values, *view.parameters):
        parameter = view.parameters.get(name)
        takes_files = parameter is not None and parameter.takes_files
        if not takes_files and str(name).lower().replace("_", "").replace("-", "") in names:
            found = parse(view.value(name))
            if found is not None:
                return found
    return None


def _parse_duration(value: object) -> _Quantity | None:
    seconds = as_decimal(as_seconds(normalize(value)))
    return _Quantity(seconds, False) if seconds is not None and seconds > 0 else None


def _parse_size(value: object) -> _Quantity | None:
    """Parse "1024x1024", "2K" (a square) or "720p" (lines of a 16:9 picture) as pixels."""
    text = normalize(value)
    if size := SIZE.fullmatch(text):
        return _Quantity(Decimal(size[1]) * Decimal(size[2]), True)
    if square := SQUARE.fullmatch(text):
        return _Quantity((Decimal(square[1]) * 1024) ** 2, False)
    if lines := LINES.fullmatch(text):
        return _Quantity(Decimal(lines[1]) ** 2 * 16 / 9, False)
    return None
