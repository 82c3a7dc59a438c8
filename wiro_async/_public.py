"""Marks the classes that users import from `wiro_async`."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def public(kind: T) -> T:
    """Give a class the module name that users import it by: tracebacks, documentation and pickles show that name."""
    kind.__module__ = "wiro_async"
    return kind
