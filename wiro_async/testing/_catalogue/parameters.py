"""Parameters and prices in the records of models."""

from typing import TypeAlias

from wiro_async.testing._json import Json, encode_text

Item: TypeAlias = dict[str, Json]


def item(name: str, kind: str, label: str, **more: Json) -> Item:
    return {"id": name, "type": kind, "label": label, "required": False, "advanced": False, **more}


def group(title: str, *items: Item) -> Item:
    return {"title": title, "subtitle": "", "items": list(items)}


def choices(*values: str) -> list[Json]:
    """Return options in the older format."""
    return [{"text": value, "value": value} for value in values]


def labelled(**labels: str) -> list[Json]:
    """Return options in the newer format, each with a label."""
    return [{"label": label, "value": value} for value, label in labels.items()]


def rule(price: str, method: str, **more: Json) -> Item:
    return {"inputs": {}, "price": float(price), "priceMethod": method, **more}


def table(*rules: Item) -> str:
    """Return a price table as the service sends it: JSON text."""
    return encode_text(rules)
