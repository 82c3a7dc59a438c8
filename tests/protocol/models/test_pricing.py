"""The cost of runs: every method of the price table, against a slow second implementation."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async import Estimate, File, InvalidInputError, Model
from wiro_async._protocol.models.model import parse_model
from wiro_async._protocol.models.pricing import UNITS, estimate

Item = dict[str, Any]
PICTURE = File(b"", "a.png")


def model(*rules: Item, parameters: list[Item] | None = None, **more: Any) -> Model:
    """A model with this price table."""
    record: Item = {"dynamicprice": json.dumps(rules), "parameters": parameters or [], "cps": "", **more}
    return parse_model(record)


def rule(price: Any, method: str | None = None, inputs: Item | None = None, **more: Any) -> Item:
    """A row of the table."""
    return {"inputs": inputs or {}, "price": price, **({"priceMethod": method} if method else {}), **more}


def item(name: str, kind: str = "text", **more: Any) -> Item:
    """A parameter."""
    return {"id": name, "type": kind, **more}


def cost(priced: Model, given: Item, count: int = 1) -> tuple[str, bool]:
    """Return the total and whether it is exact."""
    found = estimate(priced, given, count)
    return f"{found.total:f}", found.exact


@pytest.mark.parametrize(
    "method,given,total,exact",
    [
        ("cpr", {}, "0.02", True),
        (None, {}, "0.02", True),
        ("cpo", {}, "0.02", False),
        ("cpo", {"samples": "4"}, "0.08", True),
        ("cpo", {"num_images": 3}, "0.06", True),
        ("cpo", {"batch-size": 2}, "0.04", True),
        ("cpo", {"samples": None, "images": 2}, "0.04", True),
        ("cpo", {"samples": "0"}, "0.02", False),
        ("cpo", {"samples": "many"}, "0.02", False),
        ("cpo", {"images": ["https://a.test/a.png"], "samples": 4}, "0.08", True),
        ("cpo", {"samples": "1e999999"}, "0.02", False),
        ("cpo", {"samples": Decimal(4)}, "0.08", True),
        ("cp-promptlength", {"prompt": 12345}, "0.10", True),
        ("cp-promptlength", {"prompt": 10**5000}, "7", False),
        ("cp-outputVideoLength", {"duration": "-1"}, "7", False),
        ("cp-outputVideoLength", {"duration": -10}, "7", False),
        ("cp-outputVideoLength", {"duration": 0}, "7", False),
        ("cp-outputVideoLength", {"duration": "1e9999999"}, "7", False),
        ("cp-outputVideoLength", {"duration": "auto", "seconds": 5}, "0.100", False),
        ("cp-promptlength", {"prompt": "12345"}, "0.10", True),
        ("cp-promptlength", {"text": "é" * 3}, "0.06", True),
        ("cp-promptlength", {"prompt": "\N{FOX FACE}"}, "0.02", False),
        ("cp-promptlength", {}, "7", False),
        ("cp-outputVideoLength", {"duration": "8s"}, "0.160", False),
        ("cp-outputVideoLength", {"videoDuration": 2.5}, "0.050", False),
        ("cp-outputVideoLength", {"duration": "long"}, "7", False),
        ("cp-outputVideoLength", {}, "7", False),
        ("cp-realtimeturn", {}, "0.02", False),
        ("cpt", {"prompt": "x"}, "7", False),
        ("cp-audiosecondslength", {}, "7", False),
        ("cp-readoutput", {}, "7", False),
        ("cp-newest", {}, "7", False),
    ],
)
def test_methods(method: str | None, given: Item, total: str, exact: bool) -> None:
    """Exact if the input decides, an estimate if the run decides, else the average."""
    assert cost(model(rule(0.02, method), approximatelycost="7"), given) == (total, exact)


def test_what_an_estimate_contains() -> None:
    """The billing method, the unit and its price, and the units of a run."""
    found = estimate(model(rule(0.02, "cpo")), {"samples": 3}, 2)
    assert found == Estimate(Decimal("0.12"), "output", "cpo", True, Decimal("0.02"), Decimal(3))
    averaged = estimate(model(rule(0.02, "cpt"), approximatelycost="0.5"), {}, 10)
    assert (averaged.total, averaged.unit, averaged.quantity) == (Decimal("5.0"), "token", None)
    assert estimate(model(rule(1, "cp-newest")), {}).unit == "unit"


PIXELS = rule(0.05, "cp-pixel", priceExtra=0.03, priceInput=0.01)


@pytest.mark.parametrize(
    "given,total,exact",
    [
        ({"width": 1024, "height": 1024}, "0.05", True),
        ({"width": "1024", "height": "1025"}, "0.08", True),
        ({"width": 2048, "height": 2048}, "0.14", True),
        ({"width": 16, "height": 16}, "0.05", True),
        ({"width": 0, "height": 0}, "0.05", False),
        ({"width": -4096, "height": 4096}, "0.05", False),
        ({"width": -4096, "height": -4096}, "0.05", False),
        ({"width": "1e999999", "height": "1e999999"}, "0.05", False),
        ({"size": "large", "resolution": "2K"}, "0.14", False),
        ({"size": "1024x2048"}, "0.08", True),
        ({"image_size": "1024 × 1024"}, "0.05", True),
        ({"resolution": "2K"}, "0.14", False),
        ({"resolution": "720p"}, "0.05", False),
        ({"resolution": "1080p"}, "0.08", False),
        ({"resolution": "large"}, "0.05", False),
        ({}, "0.05", False),
        ({"width": 512, "height": 512, "inputImage": [PICTURE, PICTURE]}, "0.07", True),
        ({"width": 2048, "height": 1024, "inputImageUrl": "https://a.test/a.png"}, "0.10", False),
        ({"width": 512, "height": 512, "inputVideo": PICTURE}, "0.05", True),
    ],
)
def test_pixels(given: Item, total: str, exact: bool) -> None:
    """Tiers of 1,048,576 pixels: the first at the price, others at the extra price. Input images count in each."""
    parameters = [item("inputImage", "multifileinput"), item("inputVideo", "fileinput"), item("prompt")]
    assert cost(model(PIXELS, parameters=parameters), given | {"prompt": "x"}) == (total, exact)
    assert cost(model(rule(0.05, "cp-pixel")), {"width": 4096, "height": 4096}) == ("0.05", True)


TABLE = [
    rule(1, "cpr", {"resolution": "720p", "duration": "5"}),
    rule(2, "cpr", {"resolution": "720p", "duration": "10"}),
    rule(3, "cpr", {"resolution": "720p"}),
    rule(4, "cpr"),
]


@pytest.mark.parametrize(
    "given,total",
    [
        ({"resolution": "720p", "duration": 5}, "1"),
        ({"resolution": "720P", "duration": "10.0"}, "2"),
        ({"resolution": "720p", "duration": "15"}, "3"),
        ({"resolution": "720p"}, "1"),
        ({"resolution": ["720p"]}, "4"),
        ({}, "4"),
    ],
)
def test_the_rule_that_applies(given: Item, total: str) -> None:
    """All its values must equal the input's, or the defaults. The one with most values counts."""
    assert cost(model(*TABLE, parameters=[item("duration", default=5)]), given) == (total, True)


@pytest.mark.parametrize(
    "odd", [{"resolution": ["4K", "2K"]}, {"resolution": {"in": ["4K"]}}, "resolution=1K", ["resolution"], "[1]", 7]
)
@pytest.mark.parametrize("given", [{}, {"resolution": "2K"}, {"resolution": ["4K", "2K"]}])
def test_unreadable_conditions(odd: Any, given: Item) -> None:
    """The rule never applies."""
    assert cost(model({**rule("0.01"), "inputs": odd}, rule("0.50")), given) == ("0.50", True)
    assert cost(model({**rule("0.01"), "inputs": odd}, rule("0.50", inputs={"resolution": "8K"})), given)[1] is False


@pytest.mark.parametrize("none", [None, "", "{}", "[]", " [] ", "null", [], {}, 0])
def test_no_conditions(none: Any) -> None:
    """In any notation, the rule always applies."""
    assert cost(model({**rule("0.50"), "inputs": none}), {"resolution": "2K"}) == ("0.50", True)


def test_rules_that_contradict_each_other() -> None:
    """Of equally specific rules the most expensive one counts, as an estimate. Equal rules do not conflict."""
    rules = [rule("0.1", "cpr", {"resolution": "4K"}), rule("0.9", "cpr", {"duration": "10"}), rule("5")]
    assert cost(model(*rules), {"resolution": "4K", "duration": 10}) == ("0.9", False)
    assert cost(model(*reversed(rules)), {"resolution": "4K", "duration": 10}) == ("0.9", False)
    assert cost(model(rule("0.1"), rule("0.10")), {}) == ("0.1", True)
    assert cost(model(rule("0.05", "cpr"), rule("0.05", "cpo")), {"samples": 3}) == ("0.15", False)


def test_names_that_hold_files_are_no_counts() -> None:
    """Whatever their value is."""
    known = model(rule("1", "cpo"), parameters=[item("images", "combinefileinput"), item("samples", default="4")])
    assert cost(known, {"images": "7"}) == ("4", True)


@pytest.mark.parametrize("key", ["price", "priceExtra", "priceInput", "cps", "approximatelycost", "computingtime"])
@pytest.mark.parametrize("method", ["cpr", "cps", "cp-pixel", "cp-outputVideoLength"])
def test_numbers_that_are_no_prices(key: str, method: str) -> None:
    """They count as absent. No estimate fails on them, or is negative."""
    for huge in ("1e9999999", "-1e9999999", "1e5000", "9" * 5000, 10**5000, "-1", -0.5):
        record: Item = {"cps": "0.1", "approximatelycost": "0.2", "computingtime": "3 seconds"}
        rules: Item = {"inputs": {}, "price": "0.3", "priceMethod": method, "priceExtra": "0.1", "priceInput": "0.1"}
        (rules if key in rules else record)[key] = huge
        found = estimate(parse_model({**record, "dynamicprice": [rules]}), {"width": 4096, "height": 4096}, 3)
        assert 0 < found.total < 100


@pytest.mark.parametrize("name", ["n", "prompt", "samples", "width", "size", "duration"])
def test_values_of_any_size(name: str) -> None:
    """No estimate fails on unrealistic values."""
    rules = [rule(1, "cpo", {"n": 5}), rule(2, "cpo")]
    known = model(*rules, parameters=[item("n", "number"), item("prompt", "textarea")])
    for value in ("1e9999999", 10**5000, "9" * 5000, float("inf"), [10**5000], object()):
        assert estimate(known, {name: value}).total == 2


@pytest.mark.parametrize("count", [-1, 1.5, "3", True, None])
def test_numbers_of_runs(count: Any) -> None:
    """An integer of at least 0."""
    with pytest.raises(InvalidInputError, match="give 0 or more runs"):
        estimate(model(rule(1)), {}, count)
    with pytest.raises(InvalidInputError, match="give 0 or more runs"):
        estimate(model(rule(1)), {}, -(10**5000))
    assert estimate(model(rule(1)), {}, Decimal(2)).total == 2  # type: ignore[arg-type]


def test_rules_by_the_number_of_files() -> None:
    """`QUANTITY:n` counts files and URLs."""
    rules = [rule(n, "cpr", {"inputImage": f"QUANTITY:{n}"}) for n in (1, 2, 3)]
    known = model(*rules, parameters=[item("inputImage", "multifileinput")])
    assert cost(known, {"inputImage": PICTURE}) == ("1", True)
    assert cost(known, {"inputImage": [PICTURE], "inputImageUrl": "https://a.test/1, https://a.test/2"}) == ("3", True)
    assert cost(model(*rules), {"inputImage": "https://a.test/1,https://a.test/2"}) == ("2", True)
    assert cost(known, {}) == ("3", False), "none holds, nothing is known of the average: the dearest"
    assert cost(model(*rules, approximatelycost="0.5"), {}) == ("0.5", False)


def test_values_that_are_not_text() -> None:
    """Booleans and numbers match in any notation. An empty value matches no given one."""
    rules = [rule(1, "cpr", {"sound": True}), rule(2, "cpr", {"sound": "false"}), rule(3, "cpr", {"n": 5, "image": ""})]
    known = model(*rules)
    assert cost(known, {"sound": "true"}) == cost(known, {"sound": True}) == ("1", True)
    assert cost(known, {"sound": False}) == ("2", True)
    assert cost(known, {"n": "5.0"}) == ("3", True)


@pytest.mark.parametrize(
    "record,total",
    [
        ({"cps": "0.002", "approximatelycost": "0.12"}, "0.12"),
        ({"cps": "0.002", "approximatelycost": "", "computingtime": "10 seconds"}, "0.020"),
        ({"cps": 0.002, "computingtime": "About 1.5 Minutes"}, "0.1800"),
        ({"cps": "0.001", "computingtime": "2 hours"}, "7.200"),
        ({"cps": "0.001", "computingtime": "a while"}, "0"),
        ({"cps": "0.001", "computingtime": "15s"}, "0.015"),
        ({"cps": "0.001", "computingtime": "30 sec"}, "0.030"),
        ({"cps": "0.001", "computingtime": "2 min"}, "0.120"),
        ({"cps": "0.001", "computingtime": "00:30"}, "0.030"),
        ({"cps": "0.001", "computingtime": "45"}, "0.045"),
        ({"cps": "0.001", "computingtime": "1 minute 30 seconds"}, "0.090"),
        ({"cps": "0.001", "computingtime": "1h 1m 1s"}, "3.661"),
        ({"cps": "0.001", "computingtime": "10-20 seconds"}, "0.020"),
        ({"cps": "0.001", "computingtime": "10 seconds to 20 seconds"}, "0.020"),
        ({"cps": "0.001", "computingtime": "1.5.2 seconds"}, "0"),
        ({"cps": "0.001", "computingtime": "500 ms"}, "0"),
        ({"cps": "0.001", "computingtime": "-5"}, "0"),
        ({"approximatelycost": "0.3"}, "0.3"),
        ({}, "0"),
    ],
)
@pytest.mark.parametrize("table", [None, "", "[]", "null", "broken"])
def test_without_a_table(record: Item, total: str, table: str | None) -> None:
    """An average run costs the service's mean cost, else its computing time."""
    found = estimate(parse_model({"dynamicprice": table, **record}), {})
    assert (found.total, found.method, found.exact) == (Decimal(total), "cps", False)


@pytest.mark.parametrize("piece", ["9", "9.", "9 ", "9s", ".9 "])
def test_long_computing_times_take_no_time(piece: str) -> None:
    """They are read in one pass."""
    known = parse_model({"cps": "1", "computingtime": piece * 50_000 + " eons"})
    start = process_time()
    assert estimate(known, {}).total >= 0
    assert process_time() - start < 2


def test_seconds_of_a_rule() -> None:
    """The rule's price times the average seconds, which follow from the average cost and the model's rate."""
    known = model(rule(0.05, "cps"), cps="0.01", approximatelycost="0.2")
    assert cost(known, {}) == ("1.0", False)
    assert cost(model(rule(0.05, "cps"), computingtime="4 seconds"), {}) == ("0.20", False)
    assert cost(model(rule(0.05, "cps")), {}) == ("0.05", False)


def test_unknown_extras() -> None:
    """A rule with extras and another method than pixels has no exact price."""
    assert cost(model(rule(0.02, "cpr", priceExtra=0.01)), {}) == ("0.02", False)
    assert cost(model(rule(0.02, "cpr", priceInput="0.01")), {}) == ("0.02", False)
    assert cost(model(rule(0.02, "cpr", priceExtra=0)), {}) == ("0.02", True)


def test_tables_of_every_shape() -> None:
    """A list, JSON text, or a single rule. Rows without a price are left out."""
    assert [one.price for one in parse_model({"dynamicprice": [rule("1"), rule(None), "odd"]}).prices] == [1]
    assert [one.method for one in parse_model({"dynamicprice": json.dumps(rule(1))}).prices] == ["cpr"]


# A slow second opinion, written from the description of the price table

PRICES = st.decimals(min_value=0, max_value=10, places=4)
SIDES = st.integers(1, 5000)


def oracle(rules: list[Item], given: Item, images: int) -> tuple[Fraction, bool] | None:
    """Return the price of the most specific row that applies, the most expensive of several, by counting tiers."""
    said = {**given, "inputImage": f"QUANTITY:{images}"}
    holding: dict[int, list[tuple[Fraction, bool]]] = {}
    for row in rules:
        holds = [str(said[name]) == str(wanted) for name, wanted in row["inputs"].items()]
        if all(holds):
            holding.setdefault(len(holds), []).append(priced(row, given, images))
    if not holding:
        return None
    totals = holding[max(holding)]
    return max(total for total, _ in totals), len({total for total, _ in totals}) == 1 and all(
        sure for _, sure in totals
    )


def priced(best: Item, given: Item, images: int) -> tuple[Fraction, bool]:
    """Return the price of a row."""
    price, method = Fraction(best["price"]), best["priceMethod"]
    if method == "cpr":
        return price, True
    if method == "cpo":
        return price * given["samples"], True
    if method == "cp-promptlength":
        return sum((price for _ in given["prompt"]), Fraction(0)), True
    total, pixels, tiers = price, given["width"] * given["height"], 1
    while pixels > 1_048_576:
        total, pixels, tiers = total + Fraction(best["priceExtra"]), pixels - 1_048_576, tiers + 1
    for _ in range(images):
        for _ in range(tiers):
            total += Fraction(best["priceInput"])
    return total, images == 0 or tiers == 1 or best["priceInput"] == "0"


ROWS = st.fixed_dictionaries(
    {
        "inputs": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["fast", "fine"]),
                "samples": st.sampled_from(["1", 2]),
                "inputImage": st.sampled_from(["QUANTITY:0", "QUANTITY:1", "QUANTITY:2"]),
            },
        ),
        "price": PRICES.map(str),
        "priceMethod": st.sampled_from(["cpr", "cpo", "cp-promptlength", "cp-pixel"]),
    }
)


@given(st.data(), st.lists(ROWS, min_size=1, max_size=6), SIDES, SIDES, st.integers(0, 3), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_any_table(data: st.DataObject, rules: list[Item], width: int, height: int, images: int, count: int) -> None:
    """Totals equal the second implementation's to the last digit."""
    for row in rules:
        if row["priceMethod"] == "cp-pixel":
            row |= {"priceExtra": data.draw(PRICES.map(str)), "priceInput": data.draw(st.sampled_from(["0", "0.0137"]))}
    given: Item = {
        "prompt": data.draw(st.text("abc é", max_size=20)) or "x",
        "mode": data.draw(st.sampled_from(["fast", "fine", "odd"])),
        "samples": data.draw(st.integers(1, 4)),
        "width": width,
        "height": height,
        "inputImage": [PICTURE] * images,
    }
    known = model(*rules, parameters=[item("inputImage", "combinefileinput")], approximatelycost="0.5")
    found = estimate(known, given, count)
    total, exact = oracle(rules, given, images) or (Fraction("0.5"), False)
    assert (Fraction(found.total), found.exact) == (total * count, exact)


def test_every_documented_method_has_a_unit() -> None:
    """Every method of the service's page on prices."""
    documented = "cpr cps cpo cpt cp-pixel cp-audiosecondslength cp-promptlength cp-outputVideoLength cp-realtimeturn"
    assert UNITS["cpr"] == "run"
    assert set(UNITS) == {*documented.split(), "cp-readoutput"}
